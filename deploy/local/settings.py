"""What a shell sets for the platform, checked before anything is built or stopped."""

import difflib
import ipaddress
import os
import re
import shlex
from pathlib import Path

from problem import Problem

# What the `muster` command and people's shells use to find the platform.
CLIENT = ("MUSTER", "MUSTER_SERVER", "MUSTER_TOKEN", "MUSTER_TOKEN_FILE")
# A worker's login in this shell is not the platform's: its services have users of their own.
WORKER = ("NATS_USER", "NATS_PASSWORD")
PATH = re.compile(r"MUSTER_(?!DEV_DIR$)\w+_(FILE|DIR)")
ROOT = Path(__file__).resolve().parents[2]
# What the READMEs of the services and libraries name are all settings.
NAME = re.compile(r"\bMUSTER_[A-Z0-9_]+\b")
# What these scripts and the tests have beside them.
SCRIPTS = {"MUSTER_DEV_DIR", "MUSTER_NATS_SERVER", "MUSTER_PG_BIN"}
# How alike two names are where one is a slip of the other: two letters of a short name may be wrong.
ALIKE = 0.88
ADDRESS = "MUSTER_HTTP_ADDR"
TOKEN, TOKEN_FILE = "MUSTER_ADMIN_TOKEN", "MUSTER_ADMIN_TOKEN_FILE"


def checked(environment):
    """The environment of the platform. It runs in another folder, so what is relative here becomes absolute."""
    kept = {name: value for name, value in environment.items() if name not in CLIENT + WORKER}
    for name, value in kept.items():
        if PATH.fullmatch(name) and value.strip():
            kept[name] = there(name, value)
    if has_token(kept, TOKEN) and has_token(kept, TOKEN_FILE):
        raise Problem(f"{TOKEN_FILE} and {TOKEN} are both set: unset one")
    if kept.get(ADDRESS):
        host, _ = address(kept[ADDRESS])
        if not host.is_loopback and not has_token(kept) and kept.get("MUSTER_AUTH") != "off":
            raise Problem(
                f"{ADDRESS} is {kept[ADDRESS]!r}, which others can reach, so everybody must say who he is: set {TOKEN_FILE} "
                "to a file with a token (`openssl rand -hex 32` makes one; see docs/authentication.md), or listen on 127.0.0.1"
            )
    return kept


def misspelt(environment):
    """A line for each variable that is no setting, but nearly the name of one."""
    pages = [page for folder in ("libs", "services") for page in ROOT.glob(f"{folder}/*/README.md")]
    known = {name for page in pages for name in NAME.findall(page.read_text(encoding="utf-8"))}
    unknown = sorted(name for name in environment if NAME.fullmatch(name) and name not in known | SCRIPTS)
    near = {name: difflib.get_close_matches(name, sorted(known), 1, ALIKE) for name in unknown}
    return [f"{name} is no setting and changes nothing: is {names[0]} meant?" for name, names in near.items() if names]


def there(name, value):
    """The absolute path of a file or folder that is there and can be read."""
    path = Path(os.path.abspath(os.path.expanduser(value)))
    what, found = ("folder", path.is_dir()) if name.endswith("_DIR") else ("file", path.is_file())
    if not found:
        raise Problem(f"{name} is {value!r}, but there is no {what} {path}: name a {what} that is there, or unset {name}")
    if not os.access(path, os.R_OK):
        raise Problem(f"{name} is {value!r}, but this user may not read the {what} {path}")
    return str(path)


def address(text):
    """Host and port of an address such as 127.0.0.1:8080 or [::1]:8080."""
    host, _, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
        # An IPv6 address stands in brackets, an IPv4 address does not.
        valid = (ip.version == 6) == host.startswith("[") and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    except ValueError:
        valid = False
    if not valid:
        raise Problem(
            f"{ADDRESS} is {text!r}, but must be an IP address and a port of 1 to 65535, such as 127.0.0.1:8080 or [::1]:8080"
        )
    return ip, int(port)


def url(text):
    """Where a program of this machine reaches what listens on the address."""
    ip, port = address(text)
    if ip.is_unspecified:
        return f"http://127.0.0.1:{port}" if ip.version == 4 else f"http://[::1]:{port}"
    return f"http://{text}"


def has_token(environment, *names):
    return any(environment.get(name, "").strip() for name in names or (TOKEN, TOKEN_FILE))


def token(environment):
    """How a shell gets the token that clients need, without telling it; nothing where none is needed."""
    if not has_token(environment) or environment.get("MUSTER_AUTH") == "off":
        return []
    file = environment.get(TOKEN_FILE, "").strip()
    # Without names, comments and others beside it, the file is what clients send.
    alone = file and re.fullmatch(r"[^\s:,#]+", Path(file).read_text(errors="replace").strip())
    value = f'"$(cat {shlex.quote(file)})"' if alone else f"…  # a token of {file or TOKEN}, without `NAME:` before it"
    return [
        'The `muster` command needs a token, and so does curl (-H "Authorization: Bearer $MUSTER_TOKEN"):',
        f"  export MUSTER_TOKEN={value}",
    ]

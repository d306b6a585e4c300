#!/usr/bin/env python3
"""Checks proto/ with the pinned buf, which comes by npm, as Node does by pip where the machine has none.

    buf.py lint        style and structure
    buf.py breaking    nothing that a program of the last release could not read; shows as well that a break would be refused
    buf.py baseline    makes proto/baseline.binpb anew: part of a release, after the changelog names each break
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import servers  # noqa: E402
import tools  # noqa: E402
from problem import Problem  # noqa: E402

PACKAGE = "@bufbuild/buf@1.75.0"
PROTO = servers.ROOT / "proto"
BASELINE = "baseline.binpb"
# A change that no reader survives: what was text becomes a number.
BREAK = ("muster/workflow/v1/workflow.proto", "  string workflow = 2 ", "  uint32 workflow = 2 ")


def installed():
    """The command that runs buf."""
    dev = servers.Dev()
    node, npm = tools.node(dev.dir, servers.say)
    home = dev.dir / "node"
    stamp = home / ".installed"
    if not stamp.is_file() or stamp.read_text() != PACKAGE:
        servers.say(f"installing {PACKAGE} (once, into {home})")
        home.mkdir(parents=True, exist_ok=True)
        install = [*npm, "install", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund", "--silent", PACKAGE]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Problem(f"npm could not install {PACKAGE}:\n{(done.stdout + done.stderr).strip()[-1500:]}")
        stamp.write_text(PACKAGE)
    # What npm links is a script that looks for Node on PATH.
    return [node, str(home / "node_modules" / "@bufbuild" / "buf" / "bin" / "buf")]


def breaking(buf):
    compared = [*buf, "breaking", "--against", str(PROTO / BASELINE)]
    code = subprocess.run(compared, cwd=PROTO, check=False).returncode
    if code != 0:
        servers.say("buf breaking: proto/ breaks readers of the last release; docs/events.md says how a message changes")
        return code
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "proto"
        shutil.copytree(PROTO, copy)
        name, before, after = BREAK
        text = (copy / name).read_text()
        if before not in text:
            servers.say(f"buf breaking: {name} has no line {before!r} to break")
            return 1
        (copy / name).write_text(text.replace(before, after, 1))
        refused = subprocess.run(compared, cwd=copy, check=False, stdout=subprocess.DEVNULL)
    if refused.returncode == 0:
        servers.say("buf breaking: a field of another type was not refused")
        return 1
    return 0


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("lint", "breaking", "baseline"):
        servers.say(__doc__)
        return 64
    what = sys.argv[1]
    try:
        buf = installed()
    except Problem as problem:
        servers.say(f"buf {what}: {problem}")
        return 1
    if what == "breaking":
        return breaking(buf)
    arguments = ["lint"] if what == "lint" else ["build", "--exclude-source-info", "-o", BASELINE]
    return subprocess.run([*buf, *arguments], cwd=PROTO, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

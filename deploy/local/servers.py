#!/usr/bin/env python3
"""nats-server and Postgres for development, in `.dev/`, on free loopback ports.

    servers.py doctor    check what building needs (cargo, a C compiler)
    servers.py install   fetch the two pinned servers, start nothing
    servers.py up        install and start what does not run yet; writes .dev/env
    servers.py down      stop what `up` started; data stays in .dev/data
    servers.py status    one line a server; exit code 3 when one is down
    servers.py env       print .dev/env as shell lines: eval "$(servers.py env)"

A server that NATS_URL or DATABASE_URL already names is used as it is.
MUSTER_DEV_DIR names another folder than `.dev/`.
"""

import argparse
import base64
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import tools  # noqa: E402
from nats import Nats  # noqa: E402
from postgres import Postgres  # noqa: E402
from problem import Problem  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SERVERS = (Nats, Postgres)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Dev:
    """The folder `.dev/`: state.json holds ports, passwords and processes."""

    def __init__(self):
        self.dir = Path(os.environ.get("MUSTER_DEV_DIR") or ROOT / ".dev").resolve()
        self.state_file = self.dir / "state.json"
        self.env_file = self.dir / "env"
        self.state = {}

    @contextlib.contextmanager
    def locked(self):
        """One command at a time: a second `up` waits for the first and then finds its servers."""
        self.dir.mkdir(parents=True, exist_ok=True)
        with (self.dir / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.servers()

    def servers(self):
        self.state = self._load()
        return [make(self) for make in SERVERS]

    def _load(self):
        try:
            return json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return {}
        except json.JSONDecodeError as error:
            raise Problem(f"{self.state_file} is not JSON ({error}): remove it and run `up` again") from None

    def save(self):
        self._write(self.state_file, json.dumps(self.state, indent=2) + "\n")

    def read_env(self):
        """The variables of `.dev/env`."""
        if not self.env_file.is_file():
            raise Problem(f"{self.env_file} is not there yet: run `python3 deploy/local/servers.py up` first")
        pairs = (line.partition("=") for line in self.env_file.read_text().splitlines())
        return {name: shlex.split(value)[0] for name, _, value in pairs}

    def write_env(self, variables):
        self._write(self.env_file, "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()))

    def _write(self, path, text):
        # Replaced as a whole, and private from the start: it holds the database's password.
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(path)


def install(dev):
    with dev.locked() as servers:
        for server in servers:
            server.install(say)


def up(dev, keep=True):
    """Starts what does not run; `keep` says that it shall run until `down`, not only for one command."""
    with dev.locked() as servers:
        for server in servers:
            server.install(say)
            if server.given():
                say(f"{server.name}: using the one that {server.variable} names")
            else:
                server.up(say)
        dev.state["keep"] = keep or dev.state.get("keep", False)
        dev.save()
        variables = {name: value for server in servers for name, value in server.variables().items()}
        dev.write_env({**variables, **own_keys(dev)})


def own_keys(dev):
    """What sealed fields and stored keys are encrypted with: the same at each start, since the servers keep what was encrypted before."""
    keys = {}
    for variable, name in [("MUSTER_SEAL_KEYS", "seal_keys"), ("MUSTER_MASTER_KEY", "master_key")]:
        if name not in dev.state:
            dev.state[name] = "dev:" + base64.b64encode(secrets.token_bytes(32)).decode()
            dev.save()
        # The platform refuses a key beside a file of keys.
        if variable == "MUSTER_MASTER_KEY" and os.environ.get("MUSTER_MASTER_KEY_FILE"):
            continue
        keys[variable] = os.environ.get(variable) or dev.state[name]
    return keys


def down(dev):
    with dev.locked() as servers:
        for server in reversed(servers):
            server.down(say)
        dev.state["keep"] = False
        dev.save()


@contextlib.contextmanager
def for_one_command(dev):
    """Servers for as long as the block runs; what nobody asked to keep is stopped by the last one who leaves."""
    dev.dir.mkdir(parents=True, exist_ok=True)
    with (dev.dir / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            up(dev, keep=False)
            yield
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                dev.servers()
                if not dev.state.get("keep"):
                    down(dev)


@contextlib.contextmanager
def stopped_again_on_failure(dev, *others):
    """Where the block fails or is interrupted, what it has started is stopped: nothing runs that nobody knows of."""

    def everything():
        return [*dev.servers(), *(make(dev) for make in others)]

    before = {server.name for server in everything() if server.running()}
    try:
        yield
    except BaseException:
        with dev.locked():
            for server in reversed(everything()):
                if server.name not in before:
                    server.down(say)
            dev.save()
        raise


def refuse_while_used(dev):
    """A demo or a test that runs would wait for its servers for minutes."""
    users = dev.dir / "users"
    if not users.exists():
        return
    with users.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("a demo or a test uses the servers: wait for its end, or end it with Ctrl-C first") from None


def status(dev):
    lines = [server.status() for server in dev.servers()]
    for _, line in lines:
        print(line)
    return 0 if all(ready for ready, _ in lines) else 3


def env(dev):
    for name, value in dev.read_env().items():
        print(f"export {name}={shlex.quote(value)}")


def doctor(_dev):
    tools.check_builders()


COMMANDS = {"doctor": doctor, "install": install, "up": up, "down": down, "status": status, "env": env}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    try:
        tools.check_python()
        return COMMANDS[command](Dev()) or 0
    except (Problem, OSError) as problem:
        say(f"servers.py {command}: {problem}")
        return 1


if __name__ == "__main__":
    sys.exit(main())

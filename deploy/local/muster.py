#!/usr/bin/env python3
"""Builds and runs Muster with the development servers: what the Makefile calls.

    muster.py run COMMAND ...    run a command with the servers and their addresses in its environment
    muster.py demo [FILE]        build, run the example on FILE (default: the example's own document)
    muster.py up                 build, start the whole platform in the background, print its REST address
    muster.py down               stop the platform and the servers
    muster.py status             one line for each of them

`run` and `demo` leave nothing behind: servers that they started are stopped at the end.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import processes  # noqa: E402
import servers  # noqa: E402
import tools  # noqa: E402
from problem import Problem  # noqa: E402
from server import Server  # noqa: E402


class Platform(Server):
    """All services of Muster in one process."""

    name = "muster"
    stop_signal = signal.SIGTERM

    def given(self):
        return None

    def ready(self):
        """All services of the process say that they can work."""
        connection = http.client.HTTPConnection("127.0.0.1", self.state["health_port"], timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def up(self, program, environment, say):
        # A program that was built anew replaces the old one.
        built = program.stat().st_mtime_ns
        if self.running() and self.state.get("built") == built:
            return
        self.abandon()
        port = processes.free_port(self.state.get("port") or 8080)
        rest = environment.get("MUSTER_HTTP_ADDR") or f"127.0.0.1:{port}"
        health = processes.free_port(self.state.get("health_port") or 8081)
        self.state.update(port=int(rest.rpartition(":")[2]), health_port=health, url=f"http://{rest}", built=built)
        addresses = {"MUSTER_HTTP_ADDR": rest, "MUSTER_HEALTH_ADDR": f"127.0.0.1:{health}"}
        self.launch([str(program), "up"], say, env={**environment, **addresses})


def build():
    """Builds the program that holds all services; returns where it is."""
    tools.check_builders()
    command = ["cargo", "build", "--package", "muster", "--bin", "muster", "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=servers.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Problem("the build failed, see above")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "muster":
            return Path(message["executable"])
    raise Problem("the build made no program named muster")


def run(dev, command):
    with servers.for_one_command(dev):
        return obey(command, dict(os.environ, **dev.read_env()))


def obey(command, environment):
    """Runs a command to its end; signals that ask us to stop are passed on, and the end is waited for."""
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise Problem(f"cannot run {command[0]}: {error.strerror}") from None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: child.terminate())
    while True:
        try:
            code = child.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            # The terminal has sent it to the child as well, which is about to end.
            continue


def demo(dev, files):
    program = build()
    with servers.for_one_command(dev):
        return obey([str(program), "demo", *files], dict(os.environ, **dev.read_env()))


def up(dev, _):
    program = build()
    servers.up(dev)
    with dev.locked():
        Platform(dev).up(program, dict(os.environ, **dev.read_env()), servers.say)
        dev.save()
        print(f"Muster is up: {dev.state['muster']['url']} (log: {dev.dir / 'log' / 'muster.log'}; stop it with: make down)")


def down(dev, _):
    with dev.locked():
        Platform(dev).down(servers.say)
        dev.save()
    servers.down(dev)


def status(dev, _):
    code = servers.status(dev)
    ready, line = Platform(dev).status()
    print(line)
    return code if ready else 3


COMMANDS = {"run": run, "demo": demo, "up": up, "down": down, "status": status}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    try:
        tools.check_python()
        return COMMANDS[given.command](servers.Dev(), given.arguments) or 0
    except (Problem, OSError) as problem:
        servers.say(f"muster.py {given.command}: {problem}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

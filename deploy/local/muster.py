#!/usr/bin/env python3
"""Builds and runs Muster with the development servers: what the Makefile calls.

    muster.py run COMMAND ...    run a command with the servers and their addresses in its environment
    muster.py demo [FILE]        build, run the example on FILE (default: the example's own document)
    muster.py demo-deliverables [FILE]   the same with the team of six and the description of a feature
    muster.py up                 build, start the whole platform in the background, print its REST address
    muster.py down               stop the platform and the servers
    muster.py status             one line for each of them

`run` and `demo` leave nothing behind: servers that they started are stopped at the end.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import processes  # noqa: E402
import servers  # noqa: E402
import settings  # noqa: E402
import tools  # noqa: E402
from problem import Problem  # noqa: E402
from server import Server  # noqa: E402


# Where REST is found when the port is free.
REST_PORT = 8080
# What the names of settings begin with.
SETTINGS = ("MUSTER_", "NATS_", "DATABASE_URL", "OPENAI_", "OTEL_", "RUST_LOG")


class Platform(Server):
    """All services of Muster in one process."""

    name = "muster"
    stop_signal = signal.SIGTERM
    told = ""

    def given(self):
        return None

    def ready(self):
        """All services of the process say that they can work."""
        connection = http.client.HTTPConnection("127.0.0.1", self.state["health_port"], timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                self.told = answer.read().decode(errors="replace").strip()
                return answer.status == 200
            except (OSError, http.client.HTTPException):
                return False

    def up(self, program, environment, say):
        # A program that was built anew, or has other settings, replaces the old one.
        wanted = {"built": program.stat().st_mtime_ns, "settings": fingerprint(environment)}
        running = self.running()
        if running and all(self.state.get(name) == value for name, value in wanted.items()):
            return
        given = environment.get(settings.ADDRESS)
        if given:
            self.refuse_taken(given)
        if running:
            say("muster: starting anew, with another " + ("build" if self.state.get("built") != wanted["built"] else "setting"))
        # It was not put down: shells know its address, also after a crash.
        stays = "process" in self.state
        self.abandon()
        rest = given or f"127.0.0.1:{self.free_port(stays, say)}"
        port = settings.address(rest)[1]
        health = self.state.get("health_port") or 8081
        health = processes.free_port(None if health == port else health)
        self.state.update(wanted, port=port, health_port=health, url=settings.url(rest))
        addresses = {settings.ADDRESS: rest, "MUSTER_HEALTH_ADDR": f"127.0.0.1:{health}"}
        # What the former process said of itself.
        self.told = ""
        try:
            self.launch([str(program), "up"], say, env={**environment, **addresses})
        except Problem as problem:
            reasons = f"\nit says that it is not ready: {self.told}" if self.told else ""
            raise Problem(f"{problem}{reasons}") from None

    def refuse_taken(self, given):
        """Where another program has the port, what runs is left running."""
        host, port = settings.address(given)
        ours = processes.alive(self.state.get("process")) and port in (self.state.get("port"), self.state.get("health_port"))
        # A port of ours will be free, but the address must be this machine's all the same.
        reason = processes.taken(str(host), 0 if ours else port)
        if reason:
            free = processes.free_port(self.state.get("port"), REST_PORT)
            raise Problem(
                f"{settings.ADDRESS} is {given!r}, where REST cannot listen ({reason}): name an address of this machine "
                f"and a port that is free, such as 127.0.0.1:{free}"
            )

    def free_port(self, stays, say):
        former = self.state.get("port")
        port = processes.free_port(*(former, REST_PORT) if stays else (REST_PORT, former))
        if port not in (REST_PORT, former if stays else None):
            say(f"muster: port {REST_PORT} is taken by another program, so REST is on {port}")
        return port


def fingerprint(environment):
    """Tells whether settings have changed, without keeping them: they hold secrets."""
    counted = sorted(item for item in environment.items() if item[0].startswith(SETTINGS))
    return hashlib.sha256(json.dumps(counted).encode()).hexdigest()


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


def demo(dev, files, which=()):
    files = [readable(file) for file in files or [os.environ.get("INPUT", "")] if file]
    program = build()
    with servers.for_one_command(dev):
        return obey([str(program), "demo", *which, *files], dict(os.environ, **dev.read_env()))


def demo_deliverables(dev, files):
    return demo(dev, files, ["deliverables"])


def readable(file):
    """The path, where there is a file that can be read: told before the build, not after it."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise Problem(f"INPUT is {file!r}, but must be a file (.md or .txt) that is there")
    if not os.access(path, os.R_OK):
        raise Problem(f"INPUT is {file!r}, which this user may not read")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Problem(f"INPUT is {file!r}, whose byte {error.start} is no UTF-8; it must be text, not a binary file") from None
    if not text.strip() or "\0" in text:
        raise Problem(f"INPUT is {file!r}, which has no text in it")
    return str(path)


def up(dev, _):
    given = settings.checked(os.environ)
    program = build()
    with servers.stopped_again_on_failure(dev, Platform):
        servers.up(dev)
        environment = dict(given, **dev.read_env())
        with dev.locked():
            Platform(dev).up(program, environment, servers.say)
            dev.save()
    servers.say(models(environment))
    for slip in settings.misspelt(os.environ):
        servers.say(f"warning: {slip}")
    print(f"Muster is up (log: {dev.dir / 'log' / 'muster.log'}; stop it with: make down). Tell your shell where:")
    url = dev.state["muster"]["url"]
    # Of curl in the documents, and of the `muster` command.
    print("\n".join([f"  export MUSTER={url} MUSTER_SERVER={url}", *settings.token(environment)]))


def models(environment):
    """Who answers agents: told here, because a model that is not the one that was meant answers, too."""
    others = {"MUSTER_MODELS_FILE": "those of the models file", "ANTHROPIC_API_KEY": "Anthropic", "GEMINI_API_KEY": "Gemini", "OLLAMA_HOST": "Ollama"}
    others = [name for variable, name in others.items() if environment.get(variable)]
    address = environment.get("OPENAI_BASE_URL") or (environment.get("OPENAI_API_KEY") and "https://api.openai.com/v1")
    if not address and others:
        return "models: " + ", ".join(others)
    if not address:
        return "models: the built-in offline model answers; OPENAI_API_KEY or OPENAI_BASE_URL choose a real one (then again: make up)"
    # Without the user and the password that an address may have.
    parts = urllib.parse.urlsplit(address)
    shown = urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    model = environment.get("MUSTER_OPENAI_MODEL")
    return f"models: {shown}" + (f", {model} where an agent names none" if model else "")


def down(dev, _):
    servers.refuse_while_used(dev)
    with dev.locked():
        Platform(dev).down(servers.say)
        dev.save()
    servers.down(dev)


def status(dev, _):
    code = servers.status(dev)
    ready, line = Platform(dev).status()
    print(line)
    return code if ready else 3


COMMANDS = {"run": run, "demo": demo, "demo-deliverables": demo_deliverables, "up": up, "down": down, "status": status}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{" + ",".join(COMMANDS) + "}")
    for name in COMMANDS:
        command = commands.add_parser(name)
        if name == "run":
            command.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND ...")
        elif name.startswith("demo"):
            command.add_argument("arguments", nargs="*", metavar="FILE")
        else:
            command.set_defaults(arguments=[])
    given = parser.parse_args()
    if given.command == "run" and not given.arguments:
        parser.error("run needs a COMMAND")
    try:
        tools.check_python()
        return COMMANDS[given.command](servers.Dev(), given.arguments) or 0
    except (Problem, OSError) as problem:
        servers.say(f"muster.py {given.command}: {problem}")
        return 1
    except KeyboardInterrupt:
        servers.say(f"muster.py {given.command}: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())

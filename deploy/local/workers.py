#!/usr/bin/env python3
"""Fetches what the example workers need into `.dev/` and prints, as JSON, how each is started: `{name: [command, ..]}`.

nats-py comes by pip (requirements/workers.txt), Node's client by npm (examples/workers/node/package-lock.json).
A worker whose language is not installed is left out, and said so.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import servers  # noqa: E402
import tools  # noqa: E402
from problem import Problem  # noqa: E402

EXAMPLES = servers.ROOT / "examples" / "workers"


def python(dev):
    package = dev.dir / "wheels" / "workers"
    tools.install("workers", package, servers.say, for_this_python=True)
    return ["env", f"PYTHONPATH={package}", sys.executable, str(EXAMPLES / "python" / "worker.py")]


def node_packages(dev, source, name, what):
    """The folder with what `source`/package-lock.json pins; none where Node is missing."""
    npm, program = shutil.which("npm"), shutil.which("node")
    if npm is None or program is None:
        servers.say(f"{what}: SKIPPED, because Node is not installed (apt install npm, or https://nodejs.org)")
        return None
    home = dev.dir / name
    wanted = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    stamp = home / ".installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        servers.say(f"installing what {what} needs (once, into {home})")
        fresh = home.with_name(home.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("node_modules"))
        command = [npm, "ci", "--prefix", str(fresh), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Problem(f"npm could not install what {what} needs:\n{(done.stdout + done.stderr).strip()[-1500:]}")
        (fresh / ".installed").write_text(wanted)
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    return home


def node(dev):
    home = node_packages(dev, EXAMPLES / "node", "worker-node", "the Node worker")
    if home is None:
        return None
    # Node looks for packages beside the program.
    shutil.copyfile(EXAMPLES / "node" / "worker.js", home / "worker.js")
    return [shutil.which("node"), str(home / "worker.js")]


def shell(_dev):
    return [shutil.which("bash") or "bash", str(EXAMPLES / "shell" / "worker.sh")]


def main():
    try:
        dev = servers.Dev()
        with dev.locked():
            commands = {make.__name__: make(dev) for make in (python, node, shell)}
    except (Problem, OSError) as problem:
        servers.say(f"workers.py: {problem}")
        return 1
    print(json.dumps({name: command for name, command in commands.items() if command}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

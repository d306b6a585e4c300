#!/usr/bin/env python3
"""Fetches what the example workers need into `.dev/` and prints, as JSON, how each is started: `{name: [command, ..]}`.

nats-py comes by pip (requirements/workers.txt), Node's client by npm (examples/workers/node/package-lock.json), and Node
itself, where the machine has none, by pip as well (requirements/node.txt).
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
    """The Node program, and the folder with what `source`/package-lock.json pins."""
    program, npm = tools.node(dev.dir, servers.say)
    home = dev.dir / name
    wanted = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    stamp = home / ".installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        servers.say(f"installing what {what} needs (once, into {home})")
        fresh = home.with_name(home.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("node_modules"))
        command = [*npm, "ci", "--prefix", str(fresh), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Problem(f"npm could not install what {what} needs:\n{(done.stdout + done.stderr).strip()[-1500:]}")
        (fresh / ".installed").write_text(wanted)
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    return program, home


def node(dev):
    program, home = node_packages(dev, EXAMPLES / "node", "worker-node", "the Node worker")
    # Node looks for packages beside the program.
    shutil.copyfile(EXAMPLES / "node" / "worker.js", home / "worker.js")
    return [program, str(home / "worker.js")]


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
    print(json.dumps(commands))
    return 0


if __name__ == "__main__":
    sys.exit(main())

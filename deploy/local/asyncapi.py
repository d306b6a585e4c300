#!/usr/bin/env python3
"""Checks docs/asyncapi.yaml with the AsyncAPI initiative's parser, which comes by npm; says so and succeeds where Node is missing."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import servers  # noqa: E402

SOURCE = Path(__file__).resolve().parent / "asyncapi"
DOCUMENT = servers.ROOT / "docs" / "asyncapi.yaml"


def installed(npm):
    """The folder with the parser that package-lock.json pins; none where npm fails."""
    home = servers.Dev().dir / "asyncapi"
    wanted = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()
    stamp = home / ".installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        servers.say(f"installing the AsyncAPI parser (once, into {home})")
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(SOURCE, home, ignore=shutil.ignore_patterns("node_modules"))
        command = [npm, "ci", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        if subprocess.run(command, check=False).returncode != 0:
            servers.say("asyncapi: npm could not install the parser")
            return None
        stamp.write_text(wanted)
    # Node looks for packages beside the program.
    shutil.copyfile(SOURCE / "validate.mjs", home / "validate.mjs")
    return home


def main():
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        servers.say("asyncapi: SKIPPED, because Node is not installed (apt install npm, or https://nodejs.org)")
        return 0
    home = installed(npm)
    if home is None:
        return 1
    return subprocess.run([node, str(home / "validate.mjs"), str(DOCUMENT)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

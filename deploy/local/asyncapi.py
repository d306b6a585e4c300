#!/usr/bin/env python3
"""Checks docs/asyncapi.yaml with the AsyncAPI initiative's parser, which comes by npm, as Node does by pip where the machine has none."""

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import servers  # noqa: E402
import workers  # noqa: E402
from problem import Problem  # noqa: E402

SOURCE = Path(__file__).resolve().parent / "asyncapi"
DOCUMENT = servers.ROOT / "docs" / "asyncapi.yaml"


def main():
    try:
        node, home = workers.node_packages(servers.Dev(), SOURCE, "asyncapi", "the AsyncAPI parser")
    except Problem as problem:
        servers.say(f"asyncapi: {problem}")
        return 1
    # Node looks for packages beside the program.
    shutil.copyfile(SOURCE / "validate.mjs", home / "validate.mjs")
    return subprocess.run([node, str(home / "validate.mjs"), str(DOCUMENT)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

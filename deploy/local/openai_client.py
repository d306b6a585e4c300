#!/usr/bin/env python3
"""Fetches OpenAI's own Python client into `.dev/` and prints, as JSON, the command that runs Python with it: `[command, ..]`.

`null` where this Python is older than the client wants, which is said too.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import servers  # noqa: E402
import tools  # noqa: E402
from problem import Problem  # noqa: E402

OLDEST_PYTHON = (3, 10)


def main():
    if sys.version_info < OLDEST_PYTHON:
        servers.say("OpenAI's client: SKIPPED, because it needs Python 3.10 or newer")
        print("null")
        return 0
    try:
        dev = servers.Dev()
        with dev.locked():
            package = dev.dir / "wheels" / "openai"
            tools.install("openai", package, servers.say, for_this_python=True)
    except (Problem, OSError) as problem:
        servers.say(f"openai_client.py: {problem}")
        return 1
    print(json.dumps(["env", f"PYTHONPATH={package}", "PYTHONDONTWRITEBYTECODE=1", sys.executable]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

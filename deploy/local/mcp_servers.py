#!/usr/bin/env python3
"""Fetches MCP servers that tests talk to into `.dev/` and prints, as JSON, how each is started: `{name: [command, ..]}`.

mcp-server-time comes by pip (requirements/mcp.txt), @modelcontextprotocol/server-everything by npm (mcp/package-lock.json);
Node itself comes by pip where the machine has none (requirements/node.txt). A server that this Python is too old for is left out, and said so.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import servers  # noqa: E402
import tools  # noqa: E402
import workers  # noqa: E402
from problem import Problem  # noqa: E402

SOURCE = Path(__file__).resolve().parent / "mcp"
OLDEST_PYTHON = (3, 10)


def time(dev):
    if sys.version_info < OLDEST_PYTHON:
        servers.say("the MCP server of the time: SKIPPED, because it needs Python 3.10 or newer")
        return None
    package = dev.dir / "wheels" / "mcp"
    tools.install("mcp", package, servers.say, for_this_python=True)
    return ["env", f"PYTHONPATH={package}", sys.executable, "-m", "mcp_server_time"]


def everything(dev):
    node, home = workers.node_packages(dev, SOURCE, "mcp-node", "the MCP server of npm")
    program = home / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    return [node, str(program)]


def main():
    try:
        dev = servers.Dev()
        with dev.locked():
            commands = {make.__name__: make(dev) for make in (time, everything)}
    except (Problem, OSError) as problem:
        servers.say(f"mcp_servers.py: {problem}")
        return 1
    print(json.dumps({name: command for name, command in commands.items() if command}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

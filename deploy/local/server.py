"""What the two development servers share."""

import os
import time

import processes
from problem import Problem

# Recovery after a crash is part of a start.
START_SECONDS = 60


class Server:
    """One server: its part of state.json, its folders and its life.

    A subclass says `name`, `variable` (the environment variable that names it) and how to start and probe it.
    """

    name = ""
    variable = ""
    stop_signal = None

    def __init__(self, dev):
        self.dev = dev
        self.package = dev.dir / "wheels" / self.name
        self.data = dev.dir / "data" / self.name
        self.log = dev.dir / "log" / f"{self.name}.log"
        self.state = dev.state.setdefault(self.name, {})

    def given(self):
        """The address of a server that is not ours.

        A shell that has loaded `.dev/env` names our own server: that one is still ours to start.
        """
        address = os.environ.get(self.variable)
        return address if address and address != self.state.get("url") else None

    def running(self):
        return processes.alive(self.state.get("process")) and self.ready()

    def launch(self, command, say, user=None, env=None):
        """Starts the server and returns when it answers."""
        began = time.monotonic()
        logged = self.log.stat().st_size if self.log.exists() else 0
        self.state["process"], child = processes.start(command, self.log, user, env)
        # At once, so that an `up` that is killed here leaves no server that nobody knows of.
        self.dev.save()
        if not processes.wait(lambda: child.poll() is not None or self.ready(), START_SECONDS) or child.poll() is not None:
            # Before it is stopped: its last words would only tell of that.
            told = processes.since(self.log, logged)
            self.abandon()
            self.dev.save()
            raise Problem(f"{self.name} did not start; from {self.log}:\n{told}")
        say(f"{self.name}: up on 127.0.0.1:{self.state['port']} in {time.monotonic() - began:.1f} s")

    def down(self, say):
        if processes.alive(self.state.get("process")):
            processes.stop(self.state["process"], self.stop_signal)
            say(f"{self.name}: stopped")
        self.state.pop("process", None)

    def status(self):
        address = self.given()
        if address:
            return True, f"{self.name}: not ours, named by {self.variable}"
        if self.running():
            return True, f"{self.name}: up on 127.0.0.1:{self.state['port']}, pid {self.state['process']['pid']}"
        if processes.alive(self.state.get("process")):
            return False, f"{self.name}: runs, but is not ready (log: {self.log}), pid {self.state['process']['pid']}"
        return False, f"{self.name}: down"

    def abandon(self):
        """Ends a process of ours that runs but does not answer, so that a fresh one can take its data."""
        process = self.state.get("process")
        if processes.alive(process):
            processes.stop(process, self.stop_signal)
        self.state.pop("process", None)

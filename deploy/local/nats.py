"""nats-server with JetStream and 10 MB payloads."""

import hashlib
import os
import re
import secrets
import signal
from pathlib import Path

import processes
import tools
from problem import Problem
from server import Server

CONFIG = """\
# Written by deploy/local/servers.py at every start.
listen: "127.0.0.1:{port}"
server_name: "muster-dev"
max_payload: 10MB
# A process that hangs, and says nothing for half a minute, is sent no more requests.
ping_interval: "10s"
ping_max: 2
jetstream {{ store_dir: "{store}" }}
include "{users}"
"""
# The users of the contract, as everywhere.
USERS = Path(__file__).resolve().parents[1] / "nats" / "users.conf"


class Nats(Server):
    name = "nats"
    variable = "NATS_URL"
    stop_signal = signal.SIGTERM

    def program(self):
        return Path(os.environ.get("MUSTER_NATS_SERVER") or self.package / "bin" / "nats-server")

    def install(self, say):
        program = self.program()
        if "MUSTER_NATS_SERVER" not in os.environ or program == self.package / "bin" / "nats-server":
            tools.install(self.name, self.package, say)
        if not os.access(program, os.X_OK):
            raise Problem(f"MUSTER_NATS_SERVER names {program}, which is not a program that can be run")

    def ready(self):
        return processes.converse(self.state["port"], b"").startswith(b"INFO")

    def up(self, say):
        users = USERS.read_text()
        digest = hashlib.sha256(users.encode()).hexdigest()
        # The permissions of a running server are those of its start.
        if self.running() and self.state.get("users") == digest:
            return
        self.abandon()
        self.data.mkdir(parents=True, exist_ok=True)
        port = processes.free_port(self.state.get("port"))
        config = self.dev.dir / "nats.conf"
        # nats-server looks for it beside its own configuration.
        copy = config.with_name("nats-users.conf")
        copy.write_text(users)
        config.write_text(CONFIG.format(port=port, store=self.data, users=copy.name))
        passwords = self.passwords(users)
        self.state.update(port=port, url=f"nats://127.0.0.1:{port}", users=digest, passwords=passwords)
        self.launch([str(self.program()), "-c", str(config)], say, env=dict(os.environ, **passwords))

    def passwords(self, users):
        """A password for each user, the same at each start. NATS reads it as configuration: it begins with a letter."""
        known = self.state.get("passwords", {})
        names = re.findall(r"\$(NATS_PASSWORD_\w+)", users)
        return {name: known.get(name) or "p" + secrets.token_hex(16) for name in names}

    def variables(self):
        # The disk of a developer need not hold what the contract reserves for production.
        ours = {} if self.given() else {**self.state["passwords"], "NATS_STREAM_BYTES_PERCENT": "5"}
        return {"NATS_URL": self.given() or self.state["url"], **ours, "MUSTER_NATS_SERVER": str(self.program())}

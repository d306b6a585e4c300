"""nats-server with JetStream and 10 MB payloads."""

import os
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
jetstream {{ store_dir: "{store}" }}
"""


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
        if self.running():
            return
        self.abandon()
        self.data.mkdir(parents=True, exist_ok=True)
        port = processes.free_port(self.state.get("port"))
        config = self.dev.dir / "nats.conf"
        config.write_text(CONFIG.format(port=port, store=self.data))
        self.state.update(port=port, url=f"nats://127.0.0.1:{port}")
        self.launch([str(self.program()), "-c", str(config)], say)

    def variables(self):
        return {"NATS_URL": self.given() or self.state["url"], "MUSTER_NATS_SERVER": str(self.program())}

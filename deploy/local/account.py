"""The unprivileged account that runs Postgres."""

import os
import pwd
import subprocess

from problem import Problem


NAMESPACE = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]


class Account:
    """Who runs Postgres: this user where that will do.

    Postgres refuses root, so root runs it as `nobody`. Where `nobody` cannot reach the folder, or this user
    has no name (which initdb refuses), it runs as the unprivileged user of a namespace of its own.
    """

    def __init__(self, dev_dir, programs, data):
        self.user, self.prefix = None, []
        if os.geteuid() != 0:
            if data.exists() and data.stat().st_uid != os.geteuid():
                owner = data.stat().st_uid
                raise Problem(f"{data} belongs to the user with uid {owner}: run as that user, or remove the folder")
            if not _has_name(os.geteuid()):
                self._enter_namespace(f"Postgres refuses the user id {os.geteuid()}, which has no name in /etc/passwd")
            return
        nobody = pwd.getpwnam("nobody")
        self.user = (nobody.pw_uid, nobody.pw_gid)
        if not self._reaches(programs / "initdb") or not self._reaches(dev_dir):
            self._enter_namespace(f"Postgres refuses root, and the user nobody cannot reach {dev_dir}")

    def _enter_namespace(self, why):
        self.user, self.prefix = None, NAMESPACE
        if not _works(NAMESPACE + ["true"]):
            raise Problem(
                f"{why}: work as an ordinary user in a folder that every user can enter (not /root), "
                "or name a Postgres with pgvector in DATABASE_URL"
            )

    def _reaches(self, path):
        return _works(["test", "-x", str(path)], **self._drop())

    def own(self, path):
        """Gives a file or folder to the account, also data that an earlier way of running it left."""
        uid, gid = self.user or (os.geteuid(), os.getegid())
        if os.stat(path).st_uid == uid:
            return
        os.chown(path, uid, gid)
        for at, folders, files in os.walk(path):
            for name in folders + files:
                os.chown(os.path.join(at, name), uid, gid, follow_symlinks=False)

    def run(self, command):
        done = subprocess.run(self.prefix + command, capture_output=True, text=True, cwd="/", check=False, **self._drop())
        if done.returncode != 0:
            raise Problem(f"{command[0]} failed:\n{(done.stdout + done.stderr).strip()[-1500:]}")

    def _drop(self):
        return {} if self.user is None else {"user": self.user[0], "group": self.user[1], "extra_groups": []}


def _has_name(uid):
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _works(command, **options):
    try:
        return subprocess.run(command, capture_output=True, cwd="/", check=False, **options).returncode == 0
    except OSError:
        return False

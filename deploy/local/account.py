"""The unprivileged account that runs Postgres."""

import os
import pwd
import subprocess

from problem import Problem


class Account:
    """Who runs Postgres. It refuses root, so root runs it as `nobody`, or, where `nobody` cannot reach the
    folder, as an unprivileged user of a namespace of its own."""

    def __init__(self, dev_dir, programs, data):
        self.user, self.prefix = None, []
        if os.geteuid() != 0:
            if data.exists() and data.stat().st_uid != os.geteuid():
                owner = data.stat().st_uid
                raise Problem(f"{data} belongs to the user with uid {owner}: run as that user, or remove the folder")
            return
        nobody = pwd.getpwnam("nobody")
        self.user = (nobody.pw_uid, nobody.pw_gid)
        if not self._reaches(programs / "initdb") or not self._reaches(dev_dir):
            self.user = None
            self.prefix = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
            if not _works(self.prefix + ["true"]):
                raise Problem(
                    f"Postgres refuses to run as root, and the user nobody cannot reach {dev_dir}: work as an ordinary "
                    "user, or put the repository into a folder that every user can enter (not /root)"
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


def _works(command, **options):
    try:
        return subprocess.run(command, capture_output=True, cwd="/", check=False, **options).returncode == 0
    except OSError:
        return False

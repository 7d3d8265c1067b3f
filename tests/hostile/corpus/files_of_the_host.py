"""Read the host's secrets, look into the directories of its users and services, and write to what it runs."""

import os

from attempts import attempt


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def write(directory):
    path = f"{directory}/hostile-{os.urandom(8).hex()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


for path in ("/etc/shadow", "/etc/gshadow", "/var/lib/dpkg/status", os.environ["SECRET_FILE"]):
    attempt(f"read {path}", read, path)
attempt("read by way of /proc/self/root", read, "/proc/self/root/etc/shadow")
attempt("read by climbing up", read, "../../../../../../etc/shadow")
for path in ("/root", "/home", "/var/lib", "/var/log", "/run", "/sys", "/sys/fs/cgroup", "/boot", "/srv", "/opt"):
    attempt(f"list {path}", os.listdir, path)
for path in ("/", "/usr/bin", "/usr/lib", "/etc", "/dev", "/var", "/etc/ssl/certs"):
    attempt(f"write to {path}", write, path)
for path in ("/etc/ld.so.cache", "/usr/bin/env", "/dev/zero", "/dev/random"):
    attempt(f"open {path} for writing", open_for_writing, path)
attempt("change the mode of a program", os.chmod, "/usr/bin/env", 0o755)
attempt("give a program away", os.chown, "/usr/bin/env", 0, 0)

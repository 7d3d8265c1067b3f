"""Tell what is in force: what /proc says of the process, and a few things that only one protection refuses."""

import os
import resource
import socket
import time

from attempts import attempt, libc, report

GET_SECUREBITS = 27
STATUS = ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "Groups")


def text(path):
    with open(path) as file:
        return file.read()


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


def connect_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname(), timeout=5).close()


def parent_of_an_orphan():
    """An orphan tells over a pipe who its parent is, once it has one that is not its maker."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        maker = os.getpid()
        if os.fork() == 0:
            while os.getppid() == maker:
                time.sleep(0.001)
            os.write(write, str(os.getppid()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(read, 20))


status = dict(line.split(":", 1) for line in text("/proc/self/status").splitlines())
for name in STATUS:
    report(name, status.get(name, "?").strip())
report("uid", os.getuid())
report("gid", os.getgid())
report("session", "own" if os.getsid(0) in (os.getpid(), os.getppid()) else "another's")
report("securebits", libc.prctl(GET_SECUREBITS, 0, 0, 0, 0))
report("oom_score_adj", text("/proc/self/oom_score_adj").strip())
report("hostname", os.uname().nodename)
report("directory", "own" if os.getcwd() == os.environ["HOME"] else os.getcwd())
report("umask", oct(os.umask(0)))
report("orphans", "init's" if parent_of_an_orphan() == os.getppid() else "another's")
for name in ("NOFILE", "CORE", "MEMLOCK", "MSGQUEUE", "STACK", "SIGPENDING"):
    report(name, resource.getrlimit(getattr(resource, f"RLIMIT_{name}", {"SIGPENDING": 11}.get(name)))[1])
for kind in ("ipc", "uts", "net", "cgroup", "mnt", "user", "pid"):
    report(f"{kind} namespace", os.readlink(f"/proc/self/ns/{kind}"))
report(
    "resolver", text("/etc/resolv.conf").strip().replace("\n", " ") if os.path.exists("/etc/resolv.conf") else "none"
)
attempt("connect to itself", connect_to_itself)
attempt("write to /proc/self", open_for_writing, "/proc/self/coredump_filter")
attempt("write to a device", open_for_writing, "/dev/zero")

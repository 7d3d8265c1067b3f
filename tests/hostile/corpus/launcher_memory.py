"""Look for what launcher and init left: in the own memory, environment and auxiliary vector, and in the parent's."""

import os
import re

from attempts import attempt, report

SECRET = re.compile(rb"hush-[0-9a-f]{32}")


def own_memory():
    with open("/proc/self/maps") as maps:
        lines = maps.readlines()
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in lines:
            bounds, rights = line.split()[:2]
            start, end = (int(number, 16) for number in bounds.split("-"))
            if rights.startswith("r") and "[v" not in line:
                memory.seek(start)
                yield memory.read(end - start)


def own(name):
    with open(f"/proc/self/{name}", "rb") as file:
        return file.read()


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def read_memory(pid):
    with open(f"/proc/{pid}/maps") as maps:
        start = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(start)
        memory.read(4)


parent = os.getppid() or 1
report("secret in the own memory", "works" if any(map(SECRET.search, own_memory())) else "ENOENT")
report("secret in the own environment", "works" if SECRET.search(own("environ")) else "ENOENT")
for name in ("environ", "auxv", "maps", "stack", "syscall", "fdinfo/0", "personality"):
    attempt(f"parent {name}", read, f"/proc/{parent}/{name}")
for name in ("fd", "task", "map_files"):
    attempt(f"parent {name}", os.listdir, f"/proc/{parent}/{name}")
attempt("parent memory", read_memory, parent)

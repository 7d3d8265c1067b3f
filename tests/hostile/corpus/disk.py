"""Fill the disk: by a large file, by a sparse one, by many that are small enough."""

import os

from attempts import attempt

MIB = 1 << 20


def write(name, count):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    for _ in range(count):
        written = os.write(fd, bytes(MIB))
        if written < MIB:
            os.write(fd, bytes(MIB - written))  # which says why


def write_many():
    for number in range(40):
        write(f"part-{number}", 5)


def make_sparse():
    os.ftruncate(os.open("sparse", os.O_CREAT | os.O_WRONLY), 60 * MIB)


attempt("a file of 20 MiB", write, "large", 20)
attempt("a sparse file of 60 MiB", make_sparse)
attempt("200 MiB of files", write_many)

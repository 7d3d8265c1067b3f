"""Change a file that is there for reading only, though its permissions let everybody: by all ways there are."""

import fcntl
import mmap
import os
import struct
import tempfile

from attempts import attempt, call

PLACE = os.environ["GIVEN"]
FILE = f"{PLACE}/file"
GET_FLAGS, SET_FLAGS = 0x8008_6601, 0x4008_6602
EMPTY_PATH, LINKAT, OPENAT2 = 0x1000, (265, 37), 437
OWN = tempfile.mkdtemp(dir=os.environ.get("OWN"))


def write(path, flags=os.O_WRONLY):
    os.close(os.open(path, flags))


def by_a_path_descriptor():
    """One that was opened for nothing, opened anew by its link in /proc."""
    write(f"/proc/self/fd/{os.open(FILE, os.O_PATH)}")


def by_the_reading_descriptor():
    write(f"/proc/self/fd/{os.open(FILE, os.O_RDONLY)}")


def by_the_directory():
    os.close(os.open("file", os.O_WRONLY, dir_fd=os.open(PLACE, os.O_PATH)))


def by_openat2():
    call(OPENAT2, -100, FILE.encode(), struct.pack("=QQQ", os.O_WRONLY, 0, 0), 24)


def by_a_link():
    os.symlink(FILE, f"{OWN}/symbolic")
    write(f"{OWN}/symbolic")


def by_a_second_name():
    os.link(FILE, f"{OWN}/hard")
    write(f"{OWN}/hard")


def by_a_second_name_for_a_descriptor():
    call(LINKAT, os.open(FILE, os.O_RDONLY), b"", -100, f"{OWN}/second".encode(), EMPTY_PATH)


def put_there():
    """A file of one's own, moved to where none may be made."""
    path = f"{OWN}/mine"
    write(path, os.O_WRONLY | os.O_CREAT)
    os.rename(path, f"{PLACE}/mine")


def take_away():
    os.rename(FILE, f"{OWN}/taken")
    os.rename(f"{OWN}/taken", FILE)


def without_a_name():
    os.close(os.open(PLACE, os.O_TMPFILE | os.O_WRONLY))


def cut():
    os.truncate(FILE, os.stat(FILE).st_size)


def change_flags():
    fd = os.open(FILE, os.O_RDONLY)
    flags = bytearray(8)
    fcntl.ioctl(fd, GET_FLAGS, flags)
    fcntl.ioctl(fd, SET_FLAGS, flags)


def make_a_directory():
    os.mkdir(f"{PLACE}/directory")
    os.rmdir(f"{PLACE}/directory")


def mapped():
    mmap.mmap(os.open(FILE, os.O_RDWR), 4, mmap.MAP_SHARED, mmap.PROT_WRITE)


attempt("open for writing", write, FILE)
attempt("open to append", write, FILE, os.O_WRONLY | os.O_APPEND)
attempt("truncate on opening", write, f"{PLACE}/empty", os.O_RDONLY | os.O_TRUNC)
attempt("truncate by name", cut)
attempt("openat2", by_openat2)
attempt("a descriptor of a path", by_a_path_descriptor)
attempt("a descriptor for reading", by_the_reading_descriptor)
attempt("a descriptor of the directory", by_the_directory)
attempt("a symbolic link", by_a_link)
attempt("a second name", by_a_second_name)
attempt("a second name of a descriptor", by_a_second_name_for_a_descriptor)
attempt("move a file there", put_there)
attempt("move it away and back", take_away)
attempt("make a file without a name", without_a_name)
attempt("make a directory", make_a_directory)
attempt("map it shared", mapped)
attempt("by /proc/self/root", write, f"/proc/self/root{FILE}")
attempt("flags", change_flags)
attempt("mode", os.chmod, FILE, 0o666)
attempt("times", os.utime, FILE)
attempt("attribute", os.setxattr, FILE, "user.hostile", b"x")
attempt("owner", os.chown, FILE, os.getuid(), os.getgid())

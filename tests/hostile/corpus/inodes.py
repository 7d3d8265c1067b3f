"""Use up the inodes: files, directories and links, 10,000 of each."""

import os

from attempts import attempt


def make(kind, act):
    os.mkdir(kind)
    for number in range(10_000):
        act(f"{kind}/{number}")


attempt("directories", make, "directories", os.mkdir)
attempt("links", make, "links", lambda path: os.symlink("/nowhere", path))
attempt("files", make, "files", lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)))

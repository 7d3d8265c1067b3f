"""Take every permission from directories that are not empty, the work directory too."""

import os

os.makedirs("a/b/c")
for path in ("a/b/c/file", "a/b/file", "a/file", "file"):
    open(path, "w").close()
for path in ("a/b/c/file", "a/b/c", "a/b", "a", "."):
    os.chmod(path, 0)

"""Fill the work directory with links that lead out of it, for whoever follows them when it cleans up."""

import os

victim = os.environ["VICTIM"]
os.symlink(victim, "to-directory")
os.symlink(f"{victim}/file", "to-file")
os.symlink(f"{victim}/../{os.path.basename(victim)}", "to-directory-by-climbing")
os.mkdir("inner")
os.symlink(victim, "inner/to-directory")
os.symlink(".", "inner/to-itself")
os.symlink("loop", "loop")
os.rename("script", "inner/script")
os.symlink(f"{victim}/file", "script")

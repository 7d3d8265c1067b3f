"""Make a tree that is deeper than any recursion, and longer than any path."""

import os

for _ in range(3000):
    os.mkdir("d" * 20)
    os.chdir("d" * 20)
with open("bottom", "w") as file:
    file.write("x")

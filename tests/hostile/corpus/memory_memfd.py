"""Fill files in memory that have no name and that nobody maps."""

import os
import time

held = []
for number in range(60):
    held.append(os.memfd_create(f"filler-{number}"))
    os.write(held[-1], b"x" * (7 << 20))
time.sleep(0.5)

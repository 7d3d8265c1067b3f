"""Fill memory in one process."""

import time

held = [b"x" * (1 << 20) for _ in range(400)]
time.sleep(0.3)

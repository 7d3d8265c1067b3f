"""Burn the processor for 1.7 seconds of its time."""

import time

while time.process_time() < 1.7:
    pass
print("burned")

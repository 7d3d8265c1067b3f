"""Burn the processor, and ignore the signal that says it is enough."""

import signal
import time

signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while time.process_time() < 2.5:
    pass
print("burned")

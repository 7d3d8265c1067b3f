"""Threads without end, of which every one starts more."""

import _thread
import time


def more():
    while True:
        try:
            _thread.start_new_thread(more, ())
        except RuntimeError:
            time.sleep(0)


_thread.stack_size(64 * 1024)
more()

"""Make files whose names hold every byte that a name may hold, and some that programs take for something else."""

import os
import socket

for number in range(1, 256):
    if number != ord("/"):
        byte = bytes([number])
        for name in (byte + b"-", b"-" + byte, byte * 200):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
for name in (b"-rf", b"...", b" d", b"\n\n\n", b"*d", b"$(reboot)", b"`reboot`", b"\xff\xfe", b"a\nb", b"x" * 255):
    os.mkdir(name)
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")

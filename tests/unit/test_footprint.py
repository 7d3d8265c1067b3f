"""What is freed is given back, and what stays is not looked at again: in a process of its own, for it is for good."""

import subprocess
import sys

import pytest

COUNT = """
import ctypes, gc, importlib, sys

class Malloc(ctypes.Structure):  # struct mallinfo2 of malloc.h
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Malloc
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
module, settled, size = sys.argv[1], sys.argv[2] == "settled", int(sys.argv[3])
if settled:
    importlib.import_module(module).settle()
libc.free(libc.malloc(4 << 20))  # from now on glibc would keep blocks up to this size
before = libc.mallinfo2().hblks
blocks = [libc.malloc(size) for _ in range(100)]  # the first few find room in the heap
print(libc.mallinfo2().hblks - before > 50, gc.get_freeze_count() > 1000)
"""


@pytest.mark.parametrize(("module", "size"), [("lattice_agent.footprint", 40_000), ("server_stub.footprint", 262_144)])
@pytest.mark.parametrize(("how", "mapped"), [("settled", "True True"), ("as it is", "False False")])
def test_large_blocks_are_mapped_alone_whatever_was_freed(module: str, size: int, how: str, mapped: str) -> None:
    command = [sys.executable, "-c", COUNT, module, how, str(size)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert said.stdout.strip() == mapped

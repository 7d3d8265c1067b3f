"""What a probe runs inside a cell: a shell script that works wherever ``sh`` does, and one for python3, which can try
system calls. Both print facts, one a line, ``key value``; ``read_facts`` takes them apart. What the facts mean is not
decided here but in ``protections``. Pure.

Nothing that a script tries does harm where it succeeds: files are opened and not written, processes are asked and not
signalled, numbers of system calls come with arguments that the kernel refuses.
"""

from collections.abc import Iterable
from typing import Final

from lattice_agent.exec.plan import MIB

AGENT, LEVEL, LISTENER, ABSTRACT = "PROBE_AGENT", "PROBE_LEVEL", "PROBE_LISTENER", "PROBE_ABSTRACT"
"""Environment of the scripts: the agent's process id; the level; for python3 a TCP port of the agent on 127.0.0.1 and
the name of a unix socket of the agent in the abstract name space."""

_SHELL: Final = r"""
lines() {
    while IFS= read -r line; do printf '%s %s\n' "$1" "$line"; done < "$2"
}
lines status /proc/self/status
lines limit /proc/self/limits
lines mount /proc/self/mountinfo
lines stat /proc/self/stat
lines uid_map /proc/self/uid_map
lines oom_score_adj /proc/self/oom_score_adj
lines hostname /proc/sys/kernel/hostname
printf 'directory '; pwd
printf 'umask '; umask
echo self $$ parent $PPID
for path in /* /.[!.]*; do printf 'root %s\n' "$path"; done
for path in /etc/*; do printf 'etc %s\n' "${path#/etc/}"; done
for path in /dev/*; do printf 'dev %s\n' "${path#/dev/}"; done
for path in /proc/[0-9]*; do printf 'process %s\n' "$path"; done
for path in @MASKED@; do [ -e "/proc/$path" ] && ! [ -c "/proc/$path" ] && echo uncovered "/proc/$path"; done
for path in @PROGRAMS@; do [ -x "$path" ] && printf 'program %s\n' "$path"; done
for path in /proc/self/fd/*; do
    # Not counted: where the shell reads this script, and the directory that it has just listed.
    if [ ! -e "$path" ] || [ "$path" -ef "$0" ]; then continue; fi
    if [ "$path" -ef /dev/null ]; then echo descriptor "${path##*/}" null
    elif [ -p "$path" ]; then echo descriptor "${path##*/}" pipe
    else echo descriptor "${path##*/}" other
    fi
done
exec 2>/dev/null
true >> /dev/zero && echo can write /dev/zero
kill -0 $PPID && echo can signal the init of the cell
case $PROBE_LEVEL in
strict)
    lines interface /proc/net/dev
    # Numbers in /proc/sys end after the first byte for a shell that reads byte by byte.
    echo tcp_rmem $(cat /proc/sys/net/ipv4/tcp_rmem)
    echo tcp_wmem $(cat /proc/sys/net/ipv4/tcp_wmem)
    while read -r line; do
        case $line in *127.0.0.1*) echo loopback up; break ;; esac
    done < /proc/net/fib_trie
    ;;
network)
    lines resolver /etc/resolv.conf
    ;;
landlock)
    kill -0 "$PROBE_AGENT" && echo can signal the agent
    true < "/proc/$PROBE_AGENT/environ" && echo can read the environment of the agent
    [ -r /proc/keys ] && echo keys readable
    lines key /proc/keys
    parent_of() {
        while read -r name value; do case $name in PPid:) parent=$value; return ;; esac; done < /proc/self/status
    }
    orphan() {
        parent=; tries=0
        while [ "$parent" != $PPID ] && [ $tries -lt 200 ]; do tries=$((tries + 1)); parent_of; done
        echo "$parent"
    }
    # A substitution ends when nobody holds its pipe any more, so it waits for the orphan.
    echo orphan "$( (orphan &) )"
    ;;
esac
[ "$PROBE_LEVEL" = landlock ] || echo namespaces $(ls -l /proc/self/ns)
echo complete
"""

_HOG: Final = r"""
x=0123456789abcdef
while [ ${#x} -lt @BYTES@ ]; do x=$x$x; done
while :; do :; done
"""

HOG_LIMIT: Final = 2 * MIB
"""Memory limit of the cell that the hog runs in."""
HOG_BYTES: Final = 4 * HOG_LIMIT

_PRELUDE: Final = r"""
import ctypes, errno, fcntl, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
numbers = {
    "x86_64": dict(ptrace=101, keyctl=250, add_key=248, process_vm_readv=310, perf_event_open=298, bpf=321,
                   userfaultfd=323, io_uring_setup=425, unshare=272, mount=165, memfd_create=319, clone3=435,
                   pidfd_getfd=438, landlock_create_ruleset=444, landlock_restrict_self=446),
    "aarch64": dict(ptrace=117, keyctl=219, add_key=217, process_vm_readv=270, perf_event_open=241, bpf=280,
                    userfaultfd=282, io_uring_setup=425, unshare=97, mount=40, memfd_create=279, clone3=435,
                    pidfd_getfd=438, landlock_create_ruleset=444, landlock_restrict_self=446),
}.get(os.uname().machine, {})

def call(name, *arguments):
    result = libc.syscall(ctypes.c_long(numbers[name]),
                          *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result
"""

_ATTEMPTS: Final = r"""
def attempt(name, function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        print("tried", name, errno.errorcode.get(error.errno, error.errno))
    else:
        print("tried", name, "done")

NOWHERE = 1 << 40
attempts = [
    ("keyctl", 0, 1 << 20, 0), ("add_key", None, None, None, 0, 0), ("process_vm_readv", 0, None, 0, None, 0, 0),
    ("perf_event_open", None, 0, -1, -1, 0), ("bpf", 99, None, 0), ("userfaultfd", NOWHERE),
    ("io_uring_setup", 0, None), ("unshare", 0x10000000), ("mount", None, None, None, 0, None),
    ("memfd_create", b"probe", 1), ("clone3", None, 0), ("ptrace", 0x4200, 0, 0, 0), ("pidfd_getfd", -1, 0, 0),
]
for name, *arguments in attempts:
    if name in numbers:
        attempt(name, call, name, *arguments)
for name, family, kind in (("netlink", 16, 3), ("packet", 17, 3), ("alg", 38, 5), ("vsock", 40, 1), ("inet", 2, 1)):
    attempt("socket-" + name, socket.socket, family, kind)
attempt("typing", fcntl.ioctl, 0, 0x5412, b"x")

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as line:
        line.settimeout(2)
        line.connect(address)
attempt("listener", connect, socket.AF_INET, ("127.0.0.1", int(os.environ["PROBE_LISTENER"])))
attempt("abstract", connect, socket.AF_UNIX, "\0" + os.environ["PROBE_ABSTRACT"])
print("securebits", libc.prctl(27, 0, 0, 0, 0))
"""

_LAYERS: Final = r"""
def layers():
    # How many more domains this process may enter: each that it is in already is one less.
    libc.prctl(38, 1, 0, 0, 0)
    rules = call("landlock_create_ruleset", struct.pack("=Q", 1 << 12), 8, 0)
    for count in range(256):
        try:
            call("landlock_restrict_self", rules, 0)
        except OSError as error:
            return count if error.errno == errno.E2BIG else -1
    return -1
try:
    print("landlock_layers", layers())
except (OSError, KeyError):
    pass
print("complete")
"""

PYTHON: Final = _PRELUDE + _ATTEMPTS + _LAYERS
"""Tries system calls and sockets, and counts Landlock domains."""
LAYERS: Final = _PRELUDE + _LAYERS
"""Only the counting: run outside as well, to compare with."""


def shell_script(masked: Iterable[str], programs: Iterable[str]) -> str:
    """The script for ``sh``. ``masked``: files of /proc, ``programs``: paths; plain words all."""
    return _SHELL.replace("@MASKED@", " ".join(masked)).replace("@PROGRAMS@", " ".join(programs))


def hog_script() -> str:
    """A script for ``sh`` that soon holds HOG_BYTES and does not end by itself."""
    return _HOG.replace("@BYTES@", str(HOG_BYTES))


class Facts:
    """What a script printed: for each key the values, in their order."""

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def all(self, key: str) -> list[str]:
        """Every value of a key."""
        return self._values.get(key, [])

    def one(self, key: str) -> str:
        """The value of a key that comes once; empty if it is not there."""
        return next(iter(self.all(key)), "").strip()

    def named(self, key: str) -> dict[str, str]:
        """The values of a key whose lines are ``name: value`` (as /proc/self/status) or ``name value``."""
        found = {}
        for line in self.all(key):
            name, _, value = line.replace("\t", " ").partition(" ")
            found[name.rstrip(":")] = value.strip()
        return found

    def __contains__(self, key: object) -> bool:
        return key in self._values


def read_facts(output: bytes) -> Facts:
    """Facts of a script's standard output. Lines of any form are taken; unknown keys do no harm."""
    values: dict[str, list[str]] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key, []).append(value)
    return Facts(values)

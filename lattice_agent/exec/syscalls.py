"""The system calls a script may make: an allowlist by groups, and what the arguments of the doubtful ones must be.

What is not named here gives EPERM, in a script and in everything it starts, as does every call of another architecture
(i386 and x32 on x86-64, 32-bit ARM on arm64). A refused call is answered and never kills: ordinary programs probe for
what they can do without. ``filter_export`` turns the rules into a program for the kernel (seccomp(2)).

A condition is ``argument & mask == value``; nothing else is needed, and nothing else is safe. The kernel sees 64 bits
of each argument but takes ``int`` ones by their low half: to compare all 64 is to be passed by a number whose high half
is not zero. The mask ``INT`` is therefore in every comparison of an ``int``.

Pure data. Numbers are those of the kernel's generic headers, which x86-64 and arm64 share.
"""

from __future__ import annotations

EPERM, ENOSYS = 1, 38

INT = 2**32 - 1
"""Mask of an argument that the kernel takes as int or unsigned int."""
POINTER = 2**64 - 1
"""Mask of an argument that is taken whole."""

Comparison = tuple[int, int, int]
"""Argument (0 to 5), mask, value: the call is let through if ``argument & mask == value``."""
Conditions = tuple[Comparison, ...]
"""All of them must hold; none at all lets every call through."""
Rule = tuple[str, Conditions]
"""A call and its conditions. Several rules of one call: any of them lets it through."""

ANY: tuple[Conditions, ...] = ((),)


class Variant:
    """What differs from cell to cell; a value, usable as a key.

    ``inet``: IPv4 and IPv6 sockets may be made. ``memory_watch``: nothing but a watcher of resident memory limits the
    cell (no memory controller), so calls that take memory out of its sight are refused. ``shares_host``: no own pid and
    ipc namespace (level landlock), so a call must not reach another process or leave an object behind.
    """

    __slots__ = ("inet", "memory_watch", "shares_host")

    def __init__(self, *, inet: bool, memory_watch: bool, shares_host: bool = False) -> None:
        self.inet = inet
        self.memory_watch = memory_watch
        self.shares_host = shares_host

    def words(self) -> tuple[str, ...]:
        """The names of what is true, in a fixed order."""
        return tuple(name for name in self.__slots__ if getattr(self, name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variant) and self.words() == other.words()

    def __hash__(self) -> int:
        return hash(self.words())

    def __repr__(self) -> str:
        return f"Variant({', '.join(self.words())})"


# --- allowed with any arguments ---

GROUPS: dict[str, tuple[str, ...]] = {
    "reading and writing": (
        "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
        "sendfile", "copy_file_range", "splice", "tee", "readahead", "fadvise64", "fsync", "fdatasync",
        "sync_file_range", "fallocate", "truncate", "ftruncate", "flock",
    ),
    "descriptors": (
        "open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3", "pipe", "pipe2",
    ),
    "paths": (
        "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
        "getcwd", "chdir", "fchdir", "getdents", "getdents64", "readlink", "readlinkat", "mkdir", "mkdirat", "rmdir",
        "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "umask",
        "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes",
        "futimesat", "utimensat", "file_getattr",
        "getxattr", "lgetxattr", "fgetxattr", "getxattrat", "listxattr", "llistxattr", "flistxattr", "listxattrat",
        "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr",
        "removexattrat", "inotify_add_watch", "inotify_rm_watch",
    ),
    "processes": (
        "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "pidfd_open", "getpid",
        "gettid", "getppid", "getpgrp", "getpgid", "setpgid", "getsid", "setsid", "set_tid_address", "arch_prctl",
        "restart_syscall", "getrlimit", "setrlimit", "getrusage", "times", "uname", "sysinfo", "getcpu", "getrandom",
    ),
    "threads": (
        "futex", "futex_waitv", "futex_wake", "futex_wait", "futex_requeue", "set_robust_list", "get_robust_list",
        "rseq", "membarrier",
    ),
    "memory": (
        "brk", "munmap", "mremap", "mprotect", "msync", "mincore", "mlock", "mlock2", "munlock", "mlockall",
        "munlockall", "pkey_alloc", "pkey_free", "pkey_mprotect", "mseal", "map_shadow_stack", "get_mempolicy",
    ),
    "signals": (
        "kill", "tkill", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend",
        "rt_sigtimedwait", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "sigaltstack", "signalfd",
        "signalfd4", "pause",
    ),
    "time": (
        "time", "gettimeofday", "clock_gettime", "clock_getres", "nanosleep", "clock_nanosleep", "alarm", "getitimer",
        "setitimer", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
    ),
    "waiting": (
        "select", "pselect6", "poll", "ppoll", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
        "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    ),
    "sockets": (
        "bind", "listen", "accept", "accept4", "connect", "shutdown", "sendto", "sendmsg", "sendmmsg", "recvfrom",
        "recvmsg", "recvmmsg", "getsockname", "getpeername", "getsockopt",
    ),
    # Without capabilities these change nothing that is not the script's own already.
    "ids": (
        "getuid", "geteuid", "getresuid", "getgid", "getegid", "getresgid", "getgroups", "setuid", "setreuid",
        "setresuid", "setgid", "setregid", "setresgid", "setgroups", "setfsuid", "setfsgid", "capget", "capset",
    ),
    "scheduling": (
        "sched_yield", "sched_getparam", "sched_getscheduler", "sched_getattr", "sched_getaffinity",
        "sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval", "getpriority", "ioprio_get",
    ),
    # native/cell enters the launcher's domain by it; without a ruleset of its own a script can do nothing with it.
    "confinement": ("landlock_restrict_self",),
}  # fmt: skip
"""Allowed in every variant, whatever the arguments."""

SYSTEM_V = (
    "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl", "shmget", "shmat", "shmdt",
    "shmctl",
)  # fmt: skip
"""Only where an ipc namespace ends them and a memory controller counts them: all three kinds hold memory of their own
(32,000 queues of 16 KiB, 32,000 semaphore sets of up to 2 MiB, segments) that no process shows as its."""
MESSAGE_QUEUES = ("mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr")
"""Only where an ipc namespace ends them; RLIMIT_MSGQUEUE bounds them."""
LANDLOCK_RULES = ("landlock_create_ruleset", "landlock_add_rule")
"""Whole only where a memory controller counts them: a rule is a node of the kernel's, and there is no bound on their
number but that of files. A script that cannot narrow itself further is none the worse for it."""
CHANGES_TO_A_PROCESS = (
    "sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity", "setpriority", "ioprio_set",
    "prlimit64",
)  # fmt: skip
"""They take the id of any process of the same uid, and Landlock has no say in them."""


# --- conditions that hold in every variant ---


def one_of(argument: int, values: tuple[int, ...], mask: int = INT) -> tuple[Conditions, ...]:
    """One rule for each value an argument may have under the mask."""
    return tuple(((argument, mask, value),) for value in values)


NEW_NAMESPACES = 0x7E02_0000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. (NEWTIME exists only for clone3 and unshare.)"""
CLONE_PARENT = 0x8000
"""A child beside the caller: the main process of a cell would make children of whoever supervises it."""
NEVER_CLONED = NEW_NAMESPACES | CLONE_PARENT
CLONE_VM, CLONE_VFORK, CLONE_THREAD = 0x100, 0x4000, 0x1_0000

LINUX, LINUX32, NO_RANDOM_ADDRESSES, QUERY = 0x0, 0x8, 0x4_0000, 0xFFFF_FFFF
"""Personalities that weaken nobody else (personality(2)); READ_IMPLIES_EXEC and old bug compatibility are left out."""

FILE_TYPE = 0xF000
FILE_TYPES = (0, 0x8000, 0x1000, 0xC000)
"""What mknod(2) may make: S_IFREG (0 means the same), S_IFIFO, S_IFSOCK. Devices and overlay whiteouts it may not."""

SECCOMP_NEW_LISTENER = 1 << 3
"""Turns a filter into a supervisor of other processes' calls. Plain filters only narrow, and file(1) and man(1) of some
distributions end with an error where they cannot install theirs."""

PRCTL_OPTIONS = {
    "SET_PDEATHSIG": 1, "GET_PDEATHSIG": 2, "GET_DUMPABLE": 3, "SET_DUMPABLE": 4, "GET_UNALIGN": 5, "GET_KEEPCAPS": 7,
    "SET_KEEPCAPS": 8, "GET_FPEMU": 9, "GET_FPEXC": 11, "GET_TIMING": 13, "SET_NAME": 15, "GET_NAME": 16,
    "GET_ENDIAN": 19, "GET_SECCOMP": 21, "SET_SECCOMP": 22, "CAPBSET_READ": 23, "CAPBSET_DROP": 24, "GET_TSC": 25,
    "GET_SECUREBITS": 27, "SET_TIMERSLACK": 29, "GET_TIMERSLACK": 30, "MCE_KILL_GET": 34, "SET_CHILD_SUBREAPER": 36,
    "GET_CHILD_SUBREAPER": 37, "SET_NO_NEW_PRIVS": 38, "GET_NO_NEW_PRIVS": 39, "GET_TID_ADDRESS": 40,
    "SET_THP_DISABLE": 41, "GET_THP_DISABLE": 42, "CAP_AMBIENT": 47, "SVE_SET_VL": 50, "SVE_GET_VL": 51,
    "GET_SPECULATION_CTRL": 52, "SET_SPECULATION_CTRL": 53, "PAC_RESET_KEYS": 54, "SET_TAGGED_ADDR_CTRL": 55,
    "GET_TAGGED_ADDR_CTRL": 56, "PAC_SET_ENABLED_KEYS": 60, "PAC_GET_ENABLED_KEYS": 61, "SME_SET_VL": 63,
    "SME_GET_VL": 64, "SET_MDWE": 65, "GET_MDWE": 66, "SET_VMA": 0x53564D41, "GET_AUXV": 0x41555856,
}  # fmt: skip
"""prctl(2) by what an option is for: names, hints and questions of the process itself, and what narrows it.

Left out: SET_MM and SET_PTRACER (tools of debuggers and checkpointing), SET_IO_FLUSHER, MCE_KILL, SCHED_CORE and
SET_MEMORY_MERGE (they act on the machine), TASK_PERF_EVENTS_*, SET_SYSCALL_USER_DISPATCH, securebits. CAPBSET_DROP only
narrows; native/cell needs it."""

IOCTLS = {
    # the terminal, real or pseudo; no TIOCSTI and TIOCLINUX (they type for the user), no TIOCSETD, TIOCCONS, TIOCSIG
    "TCGETS": 0x5401, "TCSETS": 0x5402, "TCSETSW": 0x5403, "TCSETSF": 0x5404, "TCGETA": 0x5405, "TCSETA": 0x5406,
    "TCSETAW": 0x5407, "TCSETAF": 0x5408, "TCSBRK": 0x5409, "TCXONC": 0x540A, "TCFLSH": 0x540B, "TIOCEXCL": 0x540C,
    "TIOCNXCL": 0x540D, "TIOCSCTTY": 0x540E, "TIOCGPGRP": 0x540F, "TIOCSPGRP": 0x5410, "TIOCOUTQ": 0x5411,
    "TIOCGWINSZ": 0x5413, "TIOCSWINSZ": 0x5414, "TIOCPKT": 0x5420, "TIOCNOTTY": 0x5422, "TIOCGETD": 0x5424,
    "TCSBRKP": 0x5425, "TIOCGSID": 0x5429, "TCGETS2": 0x802C542A, "TCSETS2": 0x402C542B, "TCSETSW2": 0x402C542C,
    "TCSETSF2": 0x402C542D, "TIOCGPTN": 0x80045430, "TIOCSPTLCK": 0x40045431, "TIOCGDEV": 0x80045432,
    "TIOCGPKT": 0x80045438, "TIOCGPTLCK": 0x80045439, "TIOCGEXCL": 0x80045440, "TIOCGPTPEER": 0x5441,
    # any descriptor
    "FIONREAD": 0x541B, "FIONBIO": 0x5421, "FIONCLEX": 0x5450, "FIOCLEX": 0x5451, "FIOASYNC": 0x5452,
    "FIOQSIZE": 0x5460, "FIOSETOWN": 0x8901, "SIOCSPGRP": 0x8902, "FIOGETOWN": 0x8903, "SIOCGPGRP": 0x8904,
    # files; no FS_IOC_FSSETXATTR: a project id decides whose quota pays
    "FIGETBSZ": 0x2, "FICLONE": 0x40049409, "FICLONERANGE": 0x4020940D, "FS_IOC_FIEMAP": 0xC020660B,
    "FS_IOC_GETFLAGS": 0x80086601, "FS_IOC_SETFLAGS": 0x40086602, "FS_IOC_GETVERSION": 0x80087601,
    "FS_IOC_FSGETXATTR": 0x801C581F, "RNDGETENTCNT": 0x80045200,
    # sockets and questions about network interfaces
    "SIOCATMARK": 0x8905, "SIOCGSTAMP": 0x8906, "SIOCGSTAMPNS": 0x8907, "SIOCGIFNAME": 0x8910, "SIOCGIFCONF": 0x8912,
    "SIOCGIFFLAGS": 0x8913, "SIOCGIFADDR": 0x8915, "SIOCGIFDSTADDR": 0x8917, "SIOCGIFBRDADDR": 0x8919,
    "SIOCGIFNETMASK": 0x891B, "SIOCGIFMETRIC": 0x891D, "SIOCGIFMTU": 0x8921, "SIOCGIFHWADDR": 0x8927,
    "SIOCGIFINDEX": 0x8933, "SIOCGIFTXQLEN": 0x8942, "SIOCGIFMAP": 0x8970,
}  # fmt: skip
"""ioctl(2) is an allowlist: what can be reached through it grows with every kernel (nsfs, pidfd, io devices, file
systems), while what programs without devices ask for has long been the same."""

CONDITIONS: dict[str, tuple[Conditions, ...]] = {
    "clone": (((0, NEVER_CLONED, 0),),),
    "ioctl": one_of(1, tuple(IOCTLS.values())),
    "prctl": one_of(0, tuple(PRCTL_OPTIONS.values())),
    "personality": one_of(0, (LINUX, LINUX32, NO_RANDOM_ADDRESSES, QUERY)),
    "mknod": one_of(1, FILE_TYPES, FILE_TYPE),
    "mknodat": one_of(2, FILE_TYPES, FILE_TYPE),
    "seccomp": (((1, SECCOMP_NEW_LISTENER, 0),),),
}


# --- conditions that depend on the variant ---

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET = 1, 2, 5
SOCKET_TYPE = 0xF
"""socket(2): the type without SOCK_CLOEXEC and SOCK_NONBLOCK."""
IPPROTO_DEFAULT, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6 = 0, 1, 6, 17, 58
INTERNET_SOCKETS = (
    (AF_INET, SOCK_STREAM, IPPROTO_DEFAULT), (AF_INET, SOCK_STREAM, IPPROTO_TCP),
    (AF_INET, SOCK_DGRAM, IPPROTO_DEFAULT), (AF_INET, SOCK_DGRAM, IPPROTO_UDP), (AF_INET, SOCK_DGRAM, IPPROTO_ICMP),
    (AF_INET6, SOCK_STREAM, IPPROTO_DEFAULT), (AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    (AF_INET6, SOCK_DGRAM, IPPROTO_DEFAULT), (AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
    (AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6),
)  # fmt: skip
"""TCP, UDP and the ping of the unprivileged. Raw sockets, SCTP, MPTCP, UDP-Lite, DCCP and SMC are large and rarely
missed; who asks for MPTCP gets TCP when told no."""
UNIX_SOCKETS = tuple(((0, INT, AF_UNIX), (1, SOCKET_TYPE, kind)) for kind in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET))

SOL_SOCKET = 1
PROTOCOL_LEVELS = (0, IPPROTO_TCP, IPPROTO_UDP, 41, IPPROTO_ICMPV6)
"""setsockopt(2): levels whose options concern the connection (0: IPPROTO_IP, 41: IPPROTO_IPV6)."""
SOCKET_OPTIONS = {
    "DEBUG": 1, "REUSEADDR": 2, "DONTROUTE": 5, "BROADCAST": 6, "KEEPALIVE": 9, "OOBINLINE": 10, "NO_CHECK": 11,
    "PRIORITY": 12, "LINGER": 13, "REUSEPORT": 15, "PASSCRED": 16, "RCVLOWAT": 18, "SNDLOWAT": 19, "RCVTIMEO": 20,
    "SNDTIMEO": 21, "BINDTODEVICE": 25, "ATTACH_FILTER": 26, "DETACH_FILTER": 27, "TIMESTAMP": 29, "PASSSEC": 34,
    "TIMESTAMPNS": 35, "MARK": 36, "TIMESTAMPING": 37, "RXQ_OVFL": 40, "PEEK_OFF": 42, "LOCK_FILTER": 44,
    "BUSY_POLL": 46, "MAX_PACING_RATE": 47, "INCOMING_CPU": 49, "TXTIME": 61, "BINDTOIFINDEX": 62,
    "TIMESTAMP_NEW": 63, "TIMESTAMPNS_NEW": 64, "TIMESTAMPING_NEW": 65, "RCVTIMEO_NEW": 66, "SNDTIMEO_NEW": 67,
    "PASSPIDFD": 76,
}  # fmt: skip
"""Options of SOL_SOCKET under the memory watch: no SNDBUF and RCVBUF (and FORCE), no ZEROCOPY, no RESERVE_MEM."""

MAP_SHARED, MAP_ANONYMOUS, MAP_HUGETLB = 0x1, 0x20, 0x4_0000
"""MAP_SHARED is a bit of MAP_SHARED_VALIDATE (3) too."""


def block(argument: int, first: int, size: int) -> Conditions:
    """An ``int`` argument from ``first`` to ``first + size - 1``; size is a power of two that divides ``first``."""
    return ((argument, INT & ~(size - 1), first),)


FCNTL_BUT_PIPE_SIZE = (block(1, 0, 1024), block(1, 1024, 4), block(1, 1028, 2), block(1, 1030, 1), block(1, 1032, 8))
"""Every command of fcntl(2) but 1031, F_SETPIPE_SZ."""

MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25
MADVISE_BUT_HUGE_PAGES = (
    block(2, 0, 8), block(2, 8, 4), block(2, 12, 2), block(2, 15, 1), block(2, 16, 8), block(2, 24, 1),
    block(2, 26, 2), block(2, 28, 4), block(2, 32, 32), block(2, 64, 64),
)  # fmt: skip
"""Advice of madvise(2) from 0 to 127 but these two: with pages of 2 MiB the number of page faults would not tell the
watcher how much memory may have come (memory_watch.faulted_most)."""

UNDER_MEMORY_WATCH: dict[str, tuple[Conditions, ...]] = {
    # Processes that share their memory would hand it on faster than they can be listed, and its pages do not tell that
    # there are two. Threads end together; after vfork(2), which posix_spawn(3) uses as well, the parent waits.
    "clone": (
        ((0, NEVER_CLONED | CLONE_VM, 0),),
        ((0, NEVER_CLONED | CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD),),
        ((0, NEVER_CLONED | CLONE_VM | CLONE_VFORK, CLONE_VM | CLONE_VFORK),),
    ),
    "madvise": MADVISE_BUT_HUGE_PAGES,
    # Rulesets without rules do no harm, and the probe makes some. Who asks for the version first, as programs do (the
    # flags are not 0 then), is told that there is no Landlock.
    "landlock_create_ruleset": (((2, INT, 0),),),
    # Shared anonymous memory stays when its pages are dropped from every process (madvise(2)); memory of the huge page
    # pool is in nobody's resident size.
    "mmap": (((3, MAP_HUGETLB | MAP_SHARED, 0),), ((3, MAP_HUGETLB | MAP_ANONYMOUS, 0),)),
    "fcntl": FCNTL_BUT_PIPE_SIZE,
    "setsockopt": (
        *one_of(1, PROTOCOL_LEVELS),
        *(((1, INT, SOL_SOCKET), (2, INT, option)) for option in SOCKET_OPTIONS.values()),
    ),
}
UNDER_MEMORY_CONTROLLER = {
    **dict.fromkeys(("mmap", "madvise", "fcntl", "setsockopt", "memfd_create", "inotify_init", "inotify_init1"), ANY),
    **dict.fromkeys(LANDLOCK_RULES, ANY),
}
"""inotify: the events that nobody reads are up to 8 MiB for each instance, in nobody's size either."""

ON_ITSELF: dict[str, tuple[Conditions, ...]] = {
    **{name: one_of(0, (0,)) for name in CHANGES_TO_A_PROCESS if name.startswith("sched_")},
    "setpriority": (((0, INT, 0), (1, INT, 0)),),  # PRIO_PROCESS, itself
    "ioprio_set": (((0, INT, 1), (1, INT, 0)),),  # IOPRIO_WHO_PROCESS, itself
    "prlimit64": (((0, INT, 0),), ((2, POINTER, 0),)),  # itself, or only to read
}
"""CHANGES_TO_A_PROCESS where the host's processes are in reach."""


def rules(variant: Variant) -> tuple[Rule, ...]:
    """Everything that is let through in a variant; the order has no meaning."""
    names = [name for group in GROUPS.values() for name in group]
    if not variant.shares_host:
        names += MESSAGE_QUEUES
    if not (variant.shares_host or variant.memory_watch):
        names += SYSTEM_V
    conditions = {
        **dict.fromkeys(names, ANY),
        **CONDITIONS,
        **_sockets(variant),
        **(UNDER_MEMORY_WATCH if variant.memory_watch else UNDER_MEMORY_CONTROLLER),
        **(ON_ITSELF if variant.shares_host else dict.fromkeys(CHANGES_TO_A_PROCESS, ANY)),
    }
    return tuple((name, each) for name, alternatives in conditions.items() for each in alternatives)


def _sockets(variant: Variant) -> dict[str, tuple[Conditions, ...]]:
    internet = tuple(
        ((0, INT, domain), (1, SOCKET_TYPE, kind), (2, INT, protocol)) for domain, kind, protocol in INTERNET_SOCKETS
    )
    return {"socketpair": UNIX_SOCKETS, "socket": UNIX_SOCKETS + internet if variant.inet else UNIX_SOCKETS}


# --- calls that do not exist here ---

MISSING = ("clone3",)
"""Answered with ENOSYS. clone3(2) takes its flags in memory, where no filter can read them; libc then uses clone(2)."""
MISSING_NUMBERS = tuple(range(470, 512))
"""Calls of kernels that are newer than this list, ENOSYS as well: libc and others have an older way for a call that is
not there, but none for one that is forbidden. (x86-64 has other meanings for 512 and up.)"""

NUMBERS = {
    "pidfd_send_signal": 424, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437, "faccessat2": 439,
    "epoll_pwait2": 441, "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
    "futex_waitv": 449, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455,
    "futex_requeue": 456, "mseal": 462, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465,
    "removexattrat": 466, "file_getattr": 468,
}  # fmt: skip
"""From 424 on a call has the same number everywhere; these are for a libseccomp that is older than the call."""

"""Writes small host trees for the readers."""

from pathlib import Path

STAT = """\
cpu  1000 200 300 8000 500 10 20 30 400 50
cpu0 500 100 150 4000 250 5 10 15 200 25
cpu1 500 100 150 4000 250 5 10 15 200 25
intr 12345 0 0
btime 1767225600
processes 4242
"""
MEMINFO = (
    "MemTotal:        8388608 kB\nMemFree:          100000 kB\nMemAvailable:    6291456 kB\nSwapTotal:       1024 kB\n"
)
CPUINFO = (
    "processor\t: 0\nvendor_id\t: ExampleVendor\nmodel name\t: Example CPU @ 2.00GHz\nflags\t\t: fpu hypervisor aes\n"
)


def net_dev(**counters: tuple[int, int]) -> str:
    """``/proc/net/dev`` with these received and sent bytes by interface."""
    head = "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs\n"
    rows = (f"{name:>6}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0\n" for name, (rx, tx) in counters.items())
    return head + "".join(rows)


def write_tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Files by relative path; a path that ends in a slash is an empty directory."""
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def plain_host(root: Path) -> Path:
    """A Debian virtual machine with one network card."""
    return write_tree(
        root,
        {
            "proc/stat": STAT,
            "proc/cpuinfo": CPUINFO,
            "proc/meminfo": MEMINFO,
            "proc/loadavg": "0.50 0.25 0.10 1/100 4242\n",
            "proc/uptime": "86400.51 100000.00\n",
            "proc/net/dev": net_dev(lo=(1, 1), eth0=(5000, 700)),
            "proc/sys/kernel/hostname": "node-1\n",
            "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
            "proc/sys/kernel/arch": "x86_64\n",
            "proc/1/cgroup": "0::/init.scope\n",
            "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n',
            "sys/class/net/lo/": "",
            "sys/class/net/eth0/device/": "",
        },
    )

"""Reach what listens on the host, and open the kinds of sockets that talk to the kernel and the wire."""

import os
import socket

from attempts import attempt

AF_ALG, AF_XDP, AF_KEY = 38, 44, 15


def greeted(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(address)
        if sock.recv(16) != b"hello":
            raise ConnectionError


def hand_over(path):
    """To whoever listens, one that leads into the cell."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        socket.send_fds(sock, [b"x"], [os.open(".", os.O_RDONLY)])


def opened(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


attempt("tcp", greeted, socket.AF_INET, ("127.0.0.1", int(os.environ["TCP_PORT"])))
attempt("abstract unix", greeted, socket.AF_UNIX, "\0" + os.environ["UNIX_NAME"])
attempt("unix by its path", greeted, socket.AF_UNIX, os.environ["UNIX_PATH"])
attempt("hand a descriptor over", hand_over, os.environ["UNIX_PATH"])
attempt("netlink route", opened, socket.AF_NETLINK, socket.SOCK_RAW, 0)
attempt("netlink audit", opened, socket.AF_NETLINK, socket.SOCK_RAW, 9)
attempt("netlink netfilter", opened, socket.AF_NETLINK, socket.SOCK_RAW, 12)
attempt("netlink uevents", opened, socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
attempt("packet", opened, socket.AF_PACKET, socket.SOCK_RAW, 0x300)
attempt("raw", opened, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
attempt("vsock", opened, socket.AF_VSOCK, socket.SOCK_STREAM)
attempt("crypto", opened, AF_ALG, socket.SOCK_SEQPACKET)
attempt("ipsec", opened, AF_KEY, socket.SOCK_RAW, 2)
attempt("xdp", opened, AF_XDP, socket.SOCK_RAW)
attempt("netlink generic", opened, socket.AF_NETLINK, socket.SOCK_RAW, 16)
attempt("netlink connector", opened, socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
attempt("multipath tcp", opened, socket.AF_INET, socket.SOCK_STREAM, 262)
for name, family, kind in (
    ("reliable datagrams", 21, socket.SOCK_SEQPACKET), ("can", 29, socket.SOCK_RAW),
    ("tipc", 30, socket.SOCK_SEQPACKET), ("bluetooth", 31, socket.SOCK_RAW),
    ("near field", 39, socket.SOCK_RAW), ("qipcrtr", 42, socket.SOCK_DGRAM),
    ("smc", 43, socket.SOCK_STREAM), ("mctp", 45, socket.SOCK_DGRAM),
):  # fmt: skip
    attempt(name, opened, family, kind)

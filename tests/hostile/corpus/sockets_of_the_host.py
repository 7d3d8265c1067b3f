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


def opened(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


attempt("tcp", greeted, socket.AF_INET, ("127.0.0.1", int(os.environ["TCP_PORT"])))
attempt("abstract unix", greeted, socket.AF_UNIX, "\0" + os.environ["UNIX_NAME"])
attempt("unix by its path", greeted, socket.AF_UNIX, os.environ["UNIX_PATH"])
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

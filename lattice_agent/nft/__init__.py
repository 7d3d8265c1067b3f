"""Putting the addresses of a host name into nftables sets: ``names``, then ``resolve``, then ``apply``."""

"""HostFacts, metrics and the node's own addresses: one file per family, a reader and a pure parser apart.

A reader takes bytes from below a ``root`` directory, so that a host is a directory of recorded files; a parser
turns text into a typed value. Neither raises: a source that is missing or broken leaves its field empty.
"""

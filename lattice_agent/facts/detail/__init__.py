"""Metrics beyond the base wire, sent where the control plane announces ``metrics.detail``.

One file per group: parsers of the kernel's texts, and pure functions from two readings to a group of the message.
``sampler`` keeps what the reading before counted, for one consumer. Nothing here raises.
"""

"""Proxy usage: per-user traffic counters of a proxy core, read at a source and made into a report.

``source`` is the interface with its promise, ``file`` and ``url`` are sources, ``parse`` reads what they deliver,
``normalise`` and ``memory`` (both pure) make it safe to bill, ``snapshot`` builds the message, and ``collector`` joins
them.
"""

"""Proxy usage: per-user traffic counters of a proxy core, read at a source and made into a report.

``source`` is the interface with its promise. ``file`` and ``url`` are sources of documents, which ``parse`` reads.
``stats_api`` asks a core itself, over ``grpc_connection`` and in ``stats_messages``; ``xray_cli`` has a program ask.
``statistics`` and ``idle_core`` (both pure) say what the answers mean. ``stats_api`` alone loads h2.

``normalise`` and ``memory`` (both pure) make a reading safe to bill, ``snapshot`` builds the message, and ``collector``
joins them.
"""

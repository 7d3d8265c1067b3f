"""Models of every message on the wire, one file per topic, shared by agent and ``server_stub``.

Nothing is imported here: a process loads only the topics it speaks (start-up and memory are features).
"""

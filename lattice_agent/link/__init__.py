"""The way to the control plane: one HTTPS client, what it refuses, how fast it asks, and how long it waits.

``settings`` and ``transport_policy`` say where to and whether that is safe; ``tls`` and ``spki`` make the session;
``client`` carries one exchange out; ``failures`` turns foreign errors into the tree of ``errors``. ``verdict`` names
what an exchange meant, ``health`` remembers it, ``backoff`` and ``patience`` say when to try again, ``pacing`` keeps
the whole agent under the server's rate limit. ``announced`` reads which extensions the server offers.

Nothing is imported here, so that a command pays only for the module it uses.
"""

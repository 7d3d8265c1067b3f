"""The inventory: one file per family, each with ``fingerprint`` and ``read``, and pure parsers between.

``fingerprint(root)`` is cheap, raises nothing, and is equal as long as what ``read`` would find has not changed.
``read(root)`` gives the family's message; it raises ``FactsError`` when its main source cannot be had, and leaves empty
what a lesser one does not say. ``root`` is ``/`` or a recorded host. Parsers take text and raise nothing.
"""

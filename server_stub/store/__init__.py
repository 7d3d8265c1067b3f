"""The database of the control plane: what it keeps (``records``), what it promises (``base``), how (``sqlite``)."""

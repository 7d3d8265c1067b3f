"""The decisions of the control plane as pure functions over values: no clock, no database, no network."""

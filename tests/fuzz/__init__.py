"""Hostile input for every reader of what others control (docs/fuzzing.md)."""

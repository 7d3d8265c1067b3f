"""What the agent remembers across restarts: ``state.db`` under an exclusive lock."""

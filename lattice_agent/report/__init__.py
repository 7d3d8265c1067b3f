"""What the agent tells regularly: heartbeat, config poll, addresses, proxy usage. Each is a service of its own."""

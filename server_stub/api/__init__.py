"""HTTP: the agent's wire, the operators' API, and what both share. Endpoints parse, call an action, answer."""

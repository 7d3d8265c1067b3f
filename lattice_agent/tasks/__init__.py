"""The lease loop: what a node does with the tasks it is given."""

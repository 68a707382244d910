"""What the planner knows of hosts, routers and rights, the few ways to change it, and what must be true of it."""

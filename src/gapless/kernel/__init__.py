"""How the kernel is spoken to: what both of a host's processes, the sentinel and the agent, need for it."""

"""How the kernel is spoken to: what several of a host's processes need for it (sentinel, beat, agent, flows)."""

"""What the controller decides: which host each router is bound to, who may succeed it, and why it stays where it is."""

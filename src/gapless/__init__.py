"""Gapless keeps virtual routers forwarding: when a host dies, its routers run elsewhere before people notice."""

__version__ = "0.1.0"

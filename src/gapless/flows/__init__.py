"""Tracked connections on their way from a router's active host to those that may succeed it: a process of its own."""

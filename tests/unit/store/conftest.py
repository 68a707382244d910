"""A store of its own for each test."""

from stores import empty_database, store

__all__ = ["empty_database", "store"]

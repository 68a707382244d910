"""What every test may use: namespaces of its own (`isolated`), and generated examples that no slow machine fails."""

from hypothesis import settings

from namespaces import pytest_collection_modifyitems, pytest_runtest_protocol

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_protocol"]

settings.register_profile("gapless", deadline=None, print_blob=True)
settings.load_profile("gapless")

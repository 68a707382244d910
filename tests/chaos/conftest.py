"""Tests here that are marked `lab` run inside a lab's namespaces."""

import pytest

from inside_lab import pytest_runtest_protocol

pytest.register_assert_rewrite("chaos_lab")

__all__ = ["pytest_runtest_protocol"]

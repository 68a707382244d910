"""Tests here that are marked `lab` run inside a lab's namespaces."""

from inside_lab import pytest_runtest_protocol

__all__ = ["pytest_runtest_protocol"]

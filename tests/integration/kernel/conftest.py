"""Kernel tests run in namespaces of their own, whatever else is set up for tests."""

from kernel_fixtures import host, wires

from namespaces import pytest_runtest_protocol

__all__ = ["host", "pytest_runtest_protocol", "wires"]

"""Tests of flows run in namespaces of their own, whatever else is set up for tests."""

from flow_fixtures import pair

from namespaces import pytest_runtest_protocol

__all__ = ["pair", "pytest_runtest_protocol"]

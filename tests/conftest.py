"""What every test may use: namespaces of its own (`isolated`), and generated examples that no slow machine fails."""

from hypothesis import settings

from inside_lab import pytest_runtest_setup
from namespaces import pytest_runtest_protocol

__all__ = ["pytest_runtest_protocol", "pytest_runtest_setup"]

# Other examples in each run, also where CI=true, for which Hypothesis would take the same ones again and again.
settings.register_profile("gapless", deadline=None, print_blob=True, derandomize=False)
settings.load_profile("gapless")

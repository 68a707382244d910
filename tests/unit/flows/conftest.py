"""Log lines of these tests are kept, rendered as an operator sees them."""

from collections.abc import Iterator

import pytest
from flow_kernel import kernel

from logged import kept

__all__ = ["kernel"]


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    """Every line that was logged since the test began."""
    with kept("flows") as lines:
        yield lines

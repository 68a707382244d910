"""Log lines of these tests are kept, rendered as an operator sees them."""

from collections.abc import Iterator

import pytest

from logged import kept


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    """Every line that was logged since the test began."""
    with kept("sentinel") as lines:
        yield lines

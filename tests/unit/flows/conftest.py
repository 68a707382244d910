"""Log lines of these tests are kept, rendered as an operator sees them."""

from collections.abc import Iterator

import pytest
import structlog

from gapless.observe.log import configure


class _Paper:
    """A logger that writes into a list."""

    def __init__(self, lines: list[str]) -> None:
        self.msg = self.debug = self.info = self.warning = self.error = self.critical = self.exception = lines.append


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    """Every line that was logged since the test began."""
    lines: list[str] = []
    configure("flows")
    structlog.configure(logger_factory=lambda *_: _Paper(lines))
    yield lines
    structlog.reset_defaults()

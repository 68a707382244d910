"""What a process logs, kept as an operator sees it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from gapless.observe.log import configure


class _Paper:
    """A logger that writes into a list."""

    def __init__(self, lines: list[str]) -> None:
        self.msg = self.debug = self.info = self.warning = self.error = self.critical = self.exception = lines.append


@contextmanager
def kept(process: str) -> Iterator[list[str]]:
    """Every line that this process logs in the block, rendered."""
    lines: list[str] = []
    configure(process)
    structlog.configure(logger_factory=lambda *_: _Paper(lines))
    try:
        yield lines
    finally:
        structlog.reset_defaults()

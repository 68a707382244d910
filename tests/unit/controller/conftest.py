"""A real store for each test, trouble for it on demand, and the log as a list."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from shell_fakes import Trouble

from gapless.controller.store.engine import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/gapless.db")
    yield opened
    await opened.close()


@pytest.fixture
def trouble(store: Store) -> Trouble:
    return Trouble(store)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, Any]]]:
    """Every line that was logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]

"""A real store for each test, trouble for it on demand, and the log as a list."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from row_rig import AT
from shell_fakes import Trouble, add_routers, facts_of

from gapless.controller.store import hostrows
from gapless.controller.store.engine import Store
from gapless.model.host import Incarnation
from stores import empty_database, store

__all__ = ["empty_database", "store"]


@pytest.fixture
async def ready(store: Store) -> Store:
    """The store with hosts h1 and h2, routers r and s."""
    async with store.transaction() as session:
        for name in ("h1", "h2"):
            await hostrows.save_host(session, facts_of(name), Incarnation(1), AT)
    await add_routers(store, "r", "s")
    return store


@pytest.fixture
def trouble(store: Store) -> Trouble:
    return Trouble(store)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, Any]]]:
    """Every line that was logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]

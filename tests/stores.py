"""A controller's database for each test: a copy of one that is migrated once, which takes longer than most tests."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gapless.controller.store.engine import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied."""
    path = tmp_path_factory.mktemp("empty") / "gapless.db"

    async def make() -> None:
        await (await Store.open(f"sqlite:///{path}")).close()

    asyncio.run(make())
    return path


@pytest.fixture
async def store(tmp_path: Path, empty_database: Path) -> AsyncIterator[Store]:
    """Open, with nothing in it."""
    shutil.copy(empty_database, tmp_path / "gapless.db")
    opened = await Store.open(f"sqlite:///{tmp_path}/gapless.db")
    yield opened
    await opened.close()

"""A new cloud for each test."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from operations_cloud import Cloud, seeded

from gapless.config import ServerSettings
from gapless.controller.operations.catalog import Catalog
from gapless.controller.store.engine import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "gapless.db"

    async def make() -> None:
        await (await Store.open(f"sqlite:///{path}")).close()

    asyncio.run(make())
    return path


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(state_dir=tmp_path)


@pytest.fixture
async def cloud(tmp_path: Path, empty_database: Path, settings: ServerSettings) -> AsyncIterator[Cloud]:
    shutil.copy(empty_database, tmp_path / "gapless.db")
    store = await Store.open(f"sqlite:///{tmp_path}/gapless.db")
    yield Cloud(store=store, catalog=Catalog.of(settings, seeded()))
    await store.close()

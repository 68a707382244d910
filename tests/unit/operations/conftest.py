"""A new cloud for each test."""

from pathlib import Path

import pytest
from operations_cloud import Cloud, seeded

from gapless.config import ServerSettings
from gapless.controller.operations.catalog import Catalog
from gapless.controller.store.engine import Store
from stores import empty_database, store

__all__ = ["empty_database", "store"]


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(state_dir=tmp_path)


@pytest.fixture
def cloud(store: Store, settings: ServerSettings) -> Cloud:
    return Cloud(store=store, catalog=Catalog.of(settings, seeded()))

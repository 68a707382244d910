"""Rows of which a cluster has one."""

import pytest

from gapless.controller.store import clusterrows
from gapless.controller.store.engine import Store
from gapless.core.effects import StorePanel
from gapless.errors import Conflict
from gapless.model.host import HostName
from gapless.model.lease import Panel, PanelVersion


async def test_a_cluster_has_one_id_for_ever(store: Store) -> None:
    async with store.transaction() as session:
        made = await clusterrows.cluster_id(session)
    async with store.transaction() as session:
        assert await clusterrows.cluster_id(session) == made


async def test_the_panel_is_one_and_only_grows(store: Store) -> None:
    def level(version: int, floor: int, *sets: str) -> StorePanel:
        chosen = tuple(frozenset(map(HostName, each.split())) for each in sets)
        panel = Panel(version=PanelVersion(version), floor=PanelVersion(floor), sets=chosen)
        return StorePanel(panel=panel, reason="so", cause="e-1")

    async with store.transaction() as session:
        assert await clusterrows.panel(session) is None
    for each in (level(1, 1, "h1"), level(2, 1, "h1", "h1 h2 h3"), level(2, 2, "h1", "h1 h2 h3")):
        async with store.transaction() as session:
            await clusterrows.store_panel(session, each)
        async with store.reading() as session:
            assert await clusterrows.panel(session) == each.panel
    with pytest.raises(Conflict, match="version 2, floor 2"):
        async with store.transaction() as session:
            await clusterrows.store_panel(session, level(2, 1, "h1"))

"""Rows of hosts and of their names."""

import pytest
from row_rig import AT, ms
from shell_fakes import facts_of

from gapless.controller.store import hostrows, tables
from gapless.controller.store.engine import Store
from gapless.errors import LostRace
from gapless.model.host import HostName, Incarnation


async def test_a_host_is_stored_with_all_that_it_says(store: Store) -> None:
    facts = facts_of("h1", availability_zone="az2", capacity=7, physical_networks=("ext", "dmz"), version="0.1")
    async with store.transaction() as session:
        await hostrows.save_host(session, facts, Incarnation(3), AT)
    async with store.reading() as session:
        host = (await hostrows.hosts(session))[facts.name]
    assert (host.facts, host.incarnation, host.admin_up) == (facts, 3, True)


async def test_what_an_operator_set_survives_a_reconnect(ready: Store) -> None:
    async with ready.transaction() as session:
        row = await session.get_one(tables.HostRow, "h1")
        row.admin_state_up, row.description = False, "being repaired"
    async with ready.transaction() as session:
        await hostrows.save_host(session, facts_of("h1"), Incarnation(2), ms(1))
    async with ready.reading() as session:
        row = await session.get_one(tables.HostRow, "h1")
        assert (row.admin_state_up, row.description, row.incarnation) == (False, "being repaired", 2)
        assert (row.created_at, row.started_at) == (AT, ms(1))


async def test_the_pace_of_a_drain_is_kept_until_the_host_is_back_in_service(ready: Store) -> None:
    h1 = HostName("h1")
    async with ready.transaction() as session:
        row = await session.get_one(tables.HostRow, "h1")
        hostrows.set_admin_up(row, admin_up=False)
        row.drains_at_once = 16
    async with ready.transaction() as session:
        await hostrows.save_host(session, facts_of("h1"), Incarnation(2), ms(1))
        hostrows.set_admin_up(await session.get_one(tables.HostRow, "h1"), admin_up=False)
    async with ready.reading() as session:
        assert {name: each.drains_at_once for name, each in (await hostrows.hosts(session)).items()} == {
            h1: 16,
            "h2": None,
        }
    async with ready.transaction() as session:
        hostrows.set_admin_up(await session.get_one(tables.HostRow, "h1"), admin_up=True)
    async with ready.reading() as session:
        assert (await hostrows.hosts(session))[h1].drains_at_once is None


async def test_two_names_cannot_share_an_instance(ready: Store) -> None:
    with pytest.raises(LostRace):
        async with ready.transaction() as session:
            await hostrows.save_host(session, facts_of("h3", instance=facts_of("h1").instance), Incarnation(1), AT)


async def test_heartbeats_of_many_hosts_and_of_none_that_is_known(ready: Store) -> None:
    async with ready.transaction() as session:
        await hostrows.save_heartbeats(session, {HostName("h1"): ms(5), HostName("gone"): ms(5)})
    async with ready.reading() as session:
        hosts = await hostrows.hosts(session)
    assert hosts[HostName("h1")].heartbeat_at == ms(5)
    assert hosts[HostName("h2")].heartbeat_at == AT


async def test_a_host_that_was_deleted_is_not_stored_again(ready: Store) -> None:
    async with ready.transaction() as session:
        await session.delete(await session.get_one(tables.HostRow, "h1"))
    async with ready.transaction() as session:
        assert not await hostrows.save_known_host(session, facts_of("h1"), Incarnation(2), AT)
    async with ready.reading() as session:
        assert list(await hostrows.hosts(session)) == ["h2"]


async def test_an_operators_word_is_not_overwritten_by_what_was_known_before(ready: Store) -> None:
    """A round of the host book may have been on its way."""
    h1, before = (
        HostName("h1"),
        hostrows.NameRecord(
            instance=facts_of("h1").instance, started=Incarnation(3), highest=Incarnation(3), outlived=Incarnation(0)
        ),
    )
    async with ready.transaction() as session:
        await hostrows.save_names(session, {h1: before})
    async with ready.transaction() as session:
        await hostrows.confirm_off(session, {h1: Incarnation(4)})
    async with ready.transaction() as session:
        await hostrows.save_names(session, {h1: before})
    async with ready.reading() as session:
        after = (await hostrows.names(session))[h1]
    assert (after.confirmed, after.outlived, after.highest, after.is_off) == (4, 4, 4, True)

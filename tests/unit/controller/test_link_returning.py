"""Who comes back under a name that is known: above all that was heard of it, or as a new host once it is forgotten."""

import asyncio

import pytest
from link_rig import H1, OTHER_MACHINE, Log, works
from shell_fakes import CLASSIC, PATIENCE_S, Trouble, dialled, facts_of, fake_host, greet, listening
from websockets.exceptions import ConnectionClosed

from gapless.controller.shell import Shell
from gapless.controller.store import hostrows, tables
from gapless.controller.store.engine import Store
from gapless.model.host import MACHINE_STEP, AgentState, Incarnation
from gapless.wire.messages import Refused, Report, Welcome


async def test_another_machine_may_have_the_name_of_a_dead_host(store: Store, log: Log) -> None:
    async with listening(store) as (shell, port):
        await works(port, "h1")
        shell.link._roster._known[H1].heard_s -= CLASSIC.dead_after_s

        async with fake_host(port, facts_of("h1", instance=OTHER_MACHINE)):
            (line,) = [line for line in log if "takes over the name of a dead host" in line["event"]]
            assert (line["log_level"], line["host"], line["instance"]) == ("warning", "h1", OTHER_MACHINE)
        async with store.reading() as session:
            assert (await hostrows.hosts(session))[H1].facts.instance == OTHER_MACHINE


async def test_another_machine_is_told_what_it_has_to_be_above_also_after_the_agent_was_deleted(store: Store) -> None:
    async with listening(store) as (shell, port):
        async with fake_host(port, "h1", incarnation=9) as host:
            said = Report(
                revision=host.plan.revision,
                agent=AgentState.RUNNING,
                leased=Incarnation(12),
                reborn=Incarnation(MACHINE_STEP + 5),
            )
            await host.say(said)
        await shell.write_the_rest()
        async with store.transaction() as session:
            await session.delete(await session.get_one(tables.HostRow, "h1"))
        shell.pilot.host_forgotten(H1)
    async with listening(store) as (shell, port):
        for again in (False, True):  # As long as it is the same machine, it is told the same.
            async with dialled(port) as connection:
                answer = await greet(connection, facts_of("h1", instance=OTHER_MACHINE))
                assert isinstance(answer, Welcome)
                assert answer.outlived == 2 * MACHINE_STEP, again
        await shell.driver.turn()
        assert shell.driver.planner._ledger.fleet.get(H1).tenures.incarnation == 2 * MACHINE_STEP + 1  # type: ignore[union-attr]
        async with store.reading() as session:
            assert (await hostrows.hosts(session))[H1].incarnation == 2 * MACHINE_STEP + 1


async def confirm_off(shell: Shell, store: Store) -> None:
    """An operator's word on h1, as the API takes it."""
    words = shell.pilot.bar([H1])
    async with store.transaction() as session:
        await hostrows.confirm_off(session, words)
    shell.pilot.hosts_confirmed_off(words)


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_host_that_was_confirmed_off_is_told_to_begin_above_what_was_heard_of_it(
    store: Store, is_restarted: bool
) -> None:
    async with listening(store) as (shell, port):
        async with fake_host(port, "h1", incarnation=9) as host:
            await host.say(Report(revision=host.plan.revision, agent=AgentState.RUNNING, leased=Incarnation(12)))
            async with asyncio.timeout(PATIENCE_S):
                while shell.link._roster.highest(H1) != 12:  # noqa: ASYNC110 - a look each turn, until it is heard
                    await asyncio.sleep(0)
            await confirm_off(shell, store)
            assert await host.closed() == "an operator confirmed that this machine is off"
        if not is_restarted:
            await comes_back_above(port, store, 12)
    if is_restarted:
        async with listening(store) as (shell, port):
            await comes_back_above(port, store, 12)


async def comes_back_above(port: int, store: Store, confirmed: int) -> None:
    """What is stored before it is welcome says that it is on again."""
    async with store.reading() as session:
        assert (await hostrows.names(session))[H1].is_off
    async with dialled(port) as connection:
        answer = await greet(connection, facts_of("h1"), incarnation=10)
        assert isinstance(answer, Welcome)
        assert answer.outlived == confirmed
        async with store.reading() as session:
            known = (await hostrows.names(session))[H1]
        assert (known.is_off, known.started, known.confirmed) == (False, confirmed + 1, confirmed)


async def test_a_host_that_was_confirmed_off_waits_for_the_store(store: Store, trouble: Trouble) -> None:
    """Else a controller that starts next takes it for off, and does without it as an arbiter."""
    async with listening(store) as (shell, port):
        await works(port, "h1")
        await confirm_off(shell, store)
        trouble.read_only()
        async with dialled(port) as connection:
            with pytest.raises(ConnectionClosed):
                await greet(connection, facts_of("h1"), incarnation=2)
        trouble.over()
        await works(port, "h1")


async def test_an_older_start_of_a_host_is_refused_after_a_restart_of_the_controller_too(store: Store) -> None:
    async with listening(store) as (shell, port):
        async with fake_host(port, "h1", incarnation=5):
            pass
        async with fake_host(port, "h1", incarnation=7):
            pass
        await shell.write_the_rest()
    async with listening(store) as (_, port), dialled(port) as connection:
        answer = await greet(connection, facts_of("h1"), incarnation=6)
        assert isinstance(answer, Refused)
        assert answer.code == "stale-incarnation"


async def test_a_forgotten_host_is_sent_away_and_may_come_back_as_a_new_one(store: Store) -> None:
    async with listening(store) as (shell, port), fake_host(port, "h1") as host:
        async with store.transaction() as session:
            await session.delete(await session.get_one(tables.HostRow, "h1"))
        shell.pilot.host_forgotten(H1)
        assert await host.closed() == "an operator deleted this host's agent"
        async with fake_host(port, facts_of("h1", instance=OTHER_MACHINE)):
            pass


async def test_a_host_whose_deletion_was_stored_but_reported_as_failed_comes_back_as_a_new_one(store: Store) -> None:
    """Nobody was told: the API saw its transaction fail."""
    async with listening(store) as (shell, port), fake_host(port, "h1") as host:
        async with store.transaction() as session:
            await session.delete(await session.get_one(tables.HostRow, "h1"))
        shell.book.heard(H1)
        await shell.book.write()
        assert await host.closed() == "an operator deleted this host's agent"
        await works(port, "h1")
        async with store.reading() as session:
            assert H1 in await hostrows.hosts(session)
        shell.book.heard(H1)
        await shell.book.write()
        assert shell.link._roster.is_known(host.facts), "once is enough"

"""A host's session: when it begins, what replaces it, and that its end is always told, and in order."""

import pytest
from link_rig import H1, Log, last_words, works
from shell_fakes import Trouble, add_routers, dialled, facts_of, fake_host, greet, listening
from websockets.exceptions import ConnectionClosed

from gapless.controller.store import hostrows
from gapless.controller.store.engine import Store
from gapless.model.host import HostName


async def test_a_new_host_waits_for_the_store_and_a_known_one_does_not(
    store: Store, trouble: Trouble, log: Log
) -> None:
    async with listening(store) as (shell, port):
        await works(port, "known")
        trouble.read_only()

        async with dialled(port) as connection:
            with pytest.raises(ConnectionClosed):
                await greet(connection, facts_of("new"))
            assert (connection.close_code, connection.close_reason) == (1013, "the controller's store is not available")
        assert [line for line in log if "A new host has to come back" in line["event"]]
        async with fake_host(port, "known", incarnation=4) as host:
            await host.report()

        await shell.book.write()  # fails, and keeps what it could not write
        trouble.over()
        await shell.book.write()
        async with store.reading() as session:
            assert (await hostrows.hosts(session))[HostName("known")].incarnation == 4
        await works(port, "new")


async def test_the_same_machine_reconnecting_replaces_its_old_link(store: Store) -> None:
    async with listening(store) as (shell, port), fake_host(port, "h1") as before, fake_host(port, "h1") as after:
        assert await before.closed() == "the host opened a new control link"
        await after.report()
        assert len(shell.sessions) == 1
        (router,) = await add_routers(store, "r")
        shell.pilot.routers_changed([router])
        await after.until(lambda plan: router in plan)


@pytest.mark.parametrize("where", ["plan_of", "host_connected"])
async def test_a_session_that_breaks_in_any_way_is_told_as_over(
    store: Store, log: Log, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Else the planner would take the host for connected for ever."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with listening(store) as (shell, port):
        told = list[str]()
        disconnected = shell.driver.host_disconnected

        def note(host: HostName, received_s: float) -> None:
            told.append(host)
            disconnected(host, received_s)

        monkeypatch.setattr(shell.driver, "host_disconnected", note)
        with monkeypatch.context() as patch:
            patch.setattr(shell.driver, where, fail)
            async with dialled(port) as connection:
                await greet(connection, facts_of("h1"))
                shell.sessions.wake(H1)
                await last_words(connection)
                assert connection.close_code == 1011
        assert told == ["h1"]
        assert not len(shell.sessions)
        await works(port, "h1")


async def test_the_end_of_an_old_session_is_never_heard_after_the_beginning_of_a_newer_one(store: Store) -> None:
    """Not even where reports crowd the planner's inbox."""
    async with listening(store) as (shell, port):
        inbox = shell.driver._inbox
        inbox._limit = 0  # No report gets in; coming and going does.
        async with fake_host(port, "h1"):
            pass
        async with fake_host(port, "h1", incarnation=2) as host:
            assert host.plan is not None
            await shell.driver.turn()
            assert shell.driver.planner._ledger.fleet.get(H1).link.is_open  # type: ignore[union-attr]

"""The control link's door: who may connect, who is refused and told why, and that nobody breaks it for the others."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from shell_fakes import (
    CLASSIC,
    KEY,
    PATIENCE_S,
    Trouble,
    add_routers,
    an_id,
    dialled,
    facts_of,
    fake_host,
    greet,
    listening,
    rename_router,
)
from websockets.exceptions import ConnectionClosed

from gapless.config import Address
from gapless.controller import link as link_module
from gapless.controller.shell import Shell
from gapless.controller.store import hostrows, tables
from gapless.controller.store.engine import Store
from gapless.errors import Unavailable
from gapless.model.host import MACHINE_STEP, AgentState, HostName, Incarnation, InstanceId
from gapless.model.plan import Revision
from gapless.wire.messages import PROTOCOL, Change, Declined, Hello, Refused, Report, Welcome, encode, from_controller
from gapless.wire.proof import fresh_nonce, host_proof

Log = list[dict[str, Any]]
H1 = HostName("h1")
OTHER_MACHINE = InstanceId(an_id("another machine"))


def refusals(shell: Shell, code: str) -> float:
    value = shell.metrics.registry.get_sample_value("gapless_control_link_refusals_total", {"code": code})
    return value or 0.0


def refusal_lines(log: Log) -> Log:
    return [line for line in log if line["event"].startswith("Refused a control link: ")]


async def last_words(connection: Any) -> tuple[Refused | None, str]:
    """What the controller still said, and the reason with which it closed."""
    refused = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = from_controller.decode(await connection.recv(decode=False))
                refused = message if isinstance(message, Refused) else refused
    except ConnectionClosed:
        return refused, connection.close_reason or ""


async def works(port: int, name: str = "bystander") -> None:
    """The link serves a host: the proof that what was done to it did no harm."""
    async with fake_host(port, name) as host:
        await host.report()


async def test_a_host_is_welcome_stored_and_gets_its_plan(store: Store) -> None:
    (router,) = await add_routers(store, "r")
    async with listening(store) as (shell, port), fake_host(port, "h1") as host:
        await host.report()
        await host.until(lambda plan: router in plan)
        assert host.plan.routers[router].router.name == "r"

        await rename_router(store, router, "renamed")
        shell.pilot.routers_changed([router])
        change = await host.next()

        assert isinstance(change, Change)
        assert change.routers[0].router.name == "renamed"
        async with store.reading() as session:
            assert H1 in await hostrows.hosts(session)


async def test_a_wrong_key_is_refused_on_both_sides_without_a_name_in_the_store(store: Store, log: Log) -> None:
    async with listening(store) as (shell, port):
        async with dialled(port) as connection:
            answer = await greet(connection, facts_of("h1"), key=bytes(32))
        assert isinstance(answer, Refused)
        assert answer.code == "key"
        assert f"it has not the key of cluster {shell.cluster}" in answer.reason
        (line,) = refusal_lines(log)
        assert answer.reason in line["event"]
        assert (line["code"], line["host"], line["peer"]) == ("key", "h1", "127.0.0.1")
        assert refusals(shell, "key") == 1
        async with store.reading() as session:
            assert await hostrows.hosts(session) == {}
        await works(port)


async def test_a_host_that_means_another_cluster_is_refused(store: Store) -> None:
    async with listening(store) as (_, port), dialled(port) as connection:
        answer = await greet(connection, facts_of("h1"), cluster=an_id("another cluster"))
        assert isinstance(answer, Refused)
        assert answer.code == "key"


async def test_a_host_of_another_cluster_says_so_and_it_is_said_once(store: Store, log: Log) -> None:
    """A controller whose database was lost is a new cluster, and only its hosts know that there was another."""
    async with listening(store) as (shell, port):
        for _ in range(3):
            async with dialled(port) as connection:
                await connection.send(encode(Declined(name="h1", cluster="the old\none")), text=True)
                refused, reason = await last_words(connection)
                assert refused is not None
                assert (refused.code, reason) == ("cluster", "cluster")
        (line,) = refusal_lines(log)
        assert "it says that it belongs to cluster the?old?one" in line["event"]
        assert f"this is the controller of cluster {shell.cluster}" in line["event"]
        assert "restore the database from a backup" in line["event"]
        assert (line["code"], line["host"]) == ("cluster", "h1")
        assert refusals(shell, "cluster") == 3
        async with store.reading() as session:
            assert await hostrows.hosts(session) == {}
        await works(port)


async def test_another_protocol_is_refused(store: Store) -> None:
    async with listening(store) as (_, port), dialled(port) as connection:
        answer = await greet(connection, facts_of("h1"), protocol=99)
        assert isinstance(answer, Refused)
        assert answer.code == "protocol"
        assert "it speaks version 99 of the control link, this controller version 5" in answer.reason


async def test_a_replayed_hello_is_refused(store: Store) -> None:
    async with listening(store) as (_, port):
        async with dialled(port) as first:
            challenge = from_controller.decode(await first.recv(decode=False))
            facts, nonce = facts_of("h1"), fresh_nonce()
            proof = host_proof(
                KEY,
                cluster=challenge.cluster,
                server_nonce=challenge.nonce,
                host_nonce=nonce,
                facts=facts,
                incarnation=1,
            )
            captured = encode(Hello(protocol=PROTOCOL, facts=facts, incarnation=1, nonce=nonce, proof=proof))
            await first.send(captured, text=True)
            assert isinstance(from_controller.decode(await first.recv(decode=False)), Welcome)
        async with dialled(port) as second:
            await second.send(captured, text=True)
            refused, _ = await last_words(second)
        assert refused is not None
        assert refused.code == "key"


async def test_facts_that_were_changed_on_the_way_are_refused(store: Store) -> None:
    async with listening(store) as (_, port), dialled(port) as connection:
        challenge = from_controller.decode(await connection.recv(decode=False))
        facts, nonce = facts_of("h1"), fresh_nonce()
        said = {"cluster": challenge.cluster, "server_nonce": challenge.nonce, "host_nonce": nonce, "incarnation": 1}
        proof = host_proof(KEY, facts=facts, **said)
        forged = Hello(protocol=PROTOCOL, facts=replace(facts, capacity=1), incarnation=1, nonce=nonce, proof=proof)
        await connection.send(encode(forged), text=True)
        refused, _ = await last_words(connection)
        assert refused is not None
        assert refused.code == "key"


def hello_of(name: bytes, proof: bytes) -> bytes:
    """A Hello as bytes, so that they need not be right."""
    facts = b'{"name":' + name + b',"instance":"x"}'
    return b'{"type":"hello","protocol":1,"facts":' + facts + b',"incarnation":1,"nonce":"","proof":' + proof + b"}"


GARBAGE = {
    "nothing": b"",
    "no JSON": b"\x00\xff garbage",
    "no object": b"[]",
    "another type": b'{"type":"welcome","cluster":"c","proof":"p","report_interval_s":1}',
    "a report": encode(Report(revision=Revision(0), agent=AgentState.RUNNING)),
    "bad UTF-8": hello_of(b'"a\xff"', b'""'),
    "deep nesting": b'{"type":"hello","facts":' + b"[" * 30_000,
    "a proof that is no text": hello_of(b'"a"', b"7"),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_for_a_hello_ends_its_own_connection_only(store: Store, what: str) -> None:
    async with listening(store) as (shell, port):
        async with dialled(port) as connection:
            await connection.send(GARBAGE[what])
            refused, _ = await last_words(connection)
        assert refused is not None
        assert refused.code == "malformed"
        assert refusals(shell, "malformed") == 1
        await works(port)


async def test_an_oversized_hello_is_not_even_read(store: Store) -> None:
    async with listening(store) as (shell, port):
        async with dialled(port) as connection:
            await connection.send(b"x" * (link_module.LARGEST_HELLO + 1))
            await last_words(connection)
            assert connection.close_code == 1009
        await works(port)
        assert refusals(shell, "malformed") == 1


async def test_impossible_facts_are_refused_even_with_the_key(store: Store, log: Log) -> None:
    async with listening(store) as (_, port), dialled(port) as connection:
        answer = await greet(connection, facts_of("h1\nERROR forged=line"))
        assert isinstance(answer, Refused)
        assert answer.code == "malformed"
        assert "\n" not in str(refusal_lines(log))


async def test_who_says_nothing_is_let_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(store) as (shell, port):
        shell.link._handshake_timeout_s = 0.05
        async with dialled(port) as connection:
            refused, _ = await last_words(connection)
        assert refused is not None
        assert refused.code == "late"
        shell.link._handshake_timeout_s = link_module.HANDSHAKE_TIMEOUT_S
        await works(port)


async def test_only_so_many_strangers_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MOST_STRANGERS", 2)
    async with listening(store) as (_, port), dialled(port) as one, dialled(port) as two:
        await one.recv()
        await two.recv()
        async with dialled(port) as three:
            refused, _ = await last_words(three)
        assert refused is not None
        assert refused.code == "busy"
        await one.close()
        await two.close()
        await works(port)


async def test_what_is_no_websocket_at_all_does_no_harm(store: Store) -> None:
    async with listening(store) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 not HTTP\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await reader.read()
        writer.close()
        await works(port)


async def test_refusals_are_counted_each_and_logged_once_a_minute(store: Store, log: Log) -> None:
    async with listening(store) as (shell, port):
        for _ in range(5):
            async with dialled(port) as connection:
                await greet(connection, facts_of("h1"), key=bytes(32))
        async with dialled(port) as connection:
            await greet(connection, facts_of("h2"), key=bytes(32))
        assert refusals(shell, "key") == 6
        assert [line["host"] for line in refusal_lines(log)] == ["h1", "h2"]


async def test_a_second_machine_with_the_name_is_refused_and_the_first_is_left_alone(store: Store, log: Log) -> None:
    (router,) = await add_routers(store, "r")
    async with listening(store) as (_, port), fake_host(port, "h1") as first:
        await first.report()
        await first.until(lambda plan: router in plan)
        async with dialled(port) as connection:
            answer = await greet(connection, facts_of("h1", instance=OTHER_MACHINE), incarnation=9)
        assert isinstance(answer, Refused)
        assert answer.code == "name-taken"
        assert "the name h1 belongs to another machine" in answer.reason
        assert answer.reason in refusal_lines(log)[0]["event"]

        await rename_router(store, router, "still served")
        await first.report()
        async with store.reading() as session:
            assert (await hostrows.hosts(session))[H1].facts.instance == first.facts.instance


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


async def test_the_same_machine_reconnecting_replaces_its_old_link(store: Store) -> None:
    async with listening(store) as (shell, port), fake_host(port, "h1") as before, fake_host(port, "h1") as after:
        assert await before.closed() == "the host opened a new control link"
        await after.report()
        assert len(shell.sessions) == 1
        (router,) = await add_routers(store, "r")
        shell.pilot.routers_changed([router])
        await after.until(lambda plan: router in plan)


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


async def test_a_copied_state_directory_is_refused(store: Store) -> None:
    async with listening(store) as (_, port):
        await works(port, "h1")
        async with dialled(port) as connection:
            answer = await greet(connection, replace(facts_of("h1"), name=HostName("h2")))
        assert isinstance(answer, Refused)
        assert answer.code == "instance-copied"


@pytest.mark.parametrize(
    "message",
    [
        b"garbage",
        b"{}",
        b'{"type":"report","deep":' + b"[" * 30_000,
        b'{"type":"report","revision":99,"agent":"running"}',
    ],
)
async def test_a_malformed_report_ends_the_session_with_a_line(store: Store, log: Log, message: bytes) -> None:
    async with listening(store) as (shell, port):
        async with fake_host(port, "h1") as host:
            await host.connection.send(message)
            assert (await host.closed()).startswith("a malformed message arrived: ")
        (line,) = [line for line in log if line.get("cause") == "malformed"]
        assert line["host"] == "h1"
        closed = shell.metrics.registry.get_sample_value("gapless_control_link_closed_total", {"cause": "malformed"})
        assert closed == 1
        await works(port, "h1")


async def test_times_and_epochs_that_make_no_sense_do_no_harm(store: Store) -> None:
    (router,) = await add_routers(store, "r")
    async with listening(store) as (shell, port), fake_host(port, "h1") as host:
        await host.report()
        await host.until(lambda plan: router in plan)
        for epoch, number in ((1, 1e308), (1, -1e308), (10**30, 1.0), (-5, 1.0)):
            times = dict.fromkeys(("started_ms", "built_ms", "announced_ms", "verified_ms"), number)
            one = {"router_id": router, "epoch": epoch, "state": "active", "times": times}
            await host.say({"type": "report", "revision": host.plan.revision, "agent": "running", "routers": [one]})
        await host.report()
        await rename_router(store, router, "renamed")
        shell.pilot.routers_changed([router])
        await host.until(lambda plan: plan[router].router.name == "renamed")
        assert await shell.driver.recorder.flush()


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


async def test_an_address_in_use_is_one_clear_line(store: Store) -> None:
    async with listening(store) as (shell, port):
        with pytest.raises(Unavailable, match=rf"cannot listen on 127.0.0.1:{port}.*choose another with --link"):
            async with shell.link.listening(Address(host="127.0.0.1", port=port)):
                pass

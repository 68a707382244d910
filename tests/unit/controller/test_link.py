"""The control link's door: who may connect, and who is refused and told why."""

from dataclasses import replace

import pytest
from link_rig import H1, OTHER_MACHINE, Log, last_words, refusal_lines, refusals, works
from shell_fakes import KEY, add_routers, an_id, dialled, facts_of, fake_host, greet, listening, rename_router

from gapless.config import Address
from gapless.controller.store import hostrows
from gapless.controller.store.engine import Store
from gapless.errors import Unavailable
from gapless.model.host import HostName
from gapless.wire.messages import PROTOCOL, Change, Declined, Hello, Refused, Welcome, encode, from_controller
from gapless.wire.proof import fresh_nonce, host_proof


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
        assert f"it speaks version 99 of the control link, this controller version {PROTOCOL}" in answer.reason


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


async def test_a_copied_state_directory_is_refused(store: Store) -> None:
    async with listening(store) as (_, port):
        await works(port, "h1")
        async with dialled(port) as connection:
            answer = await greet(connection, replace(facts_of("h1"), name=HostName("h2")))
        assert isinstance(answer, Refused)
        assert answer.code == "instance-copied"


async def test_refusals_are_counted_each_and_logged_once_a_minute(store: Store, log: Log) -> None:
    async with listening(store) as (shell, port):
        for _ in range(5):
            async with dialled(port) as connection:
                await greet(connection, facts_of("h1"), key=bytes(32))
        async with dialled(port) as connection:
            await greet(connection, facts_of("h2"), key=bytes(32))
        assert refusals(shell, "key") == 6
        assert [line["host"] for line in refusal_lines(log)] == ["h1", "h2"]


async def test_an_address_in_use_is_one_clear_line(store: Store) -> None:
    async with listening(store) as (shell, port):
        with pytest.raises(Unavailable, match=rf"cannot listen on 127.0.0.1:{port}.*choose another with --link"):
            async with shell.link.listening(Address(host="127.0.0.1", port=port)):
                pass

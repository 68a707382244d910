"""Nobody breaks the control link for the others, whatever is sent, and however much or little."""

import asyncio

import pytest
from link_rig import Log, last_words, refusal_lines, refusals, works
from shell_fakes import PATIENCE_S, add_routers, dialled, facts_of, fake_host, greet, listening, rename_router

from gapless.controller import link as link_module
from gapless.controller.store.engine import Store
from gapless.model.host import AgentState
from gapless.model.plan import Revision
from gapless.wire.messages import Refused, Report, encode


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

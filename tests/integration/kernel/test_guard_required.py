"""Nothing of a guarded router is set up on a host whose guard does not stand: it would forward beside another host."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kernel_fixtures import NAMESPACE, ROUTER_ID, TAP_A, Wires, ip_json, router

from gapless.agent.kernel.guarding import GuardWatch
from gapless.agent.reconcile import Reconciler
from gapless.errors import Unavailable
from gapless.model.host import Incarnation
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Revision, Role, RouterReport, RouterState
from gapless.sentinel.beat.guard import TABLE, Guard
from gapless.sentinel.keeper import GuardKeeper
from gapless.wire.local import AgentStart, encode_start
from gapless.wire.messages import AgentPlan, AgentReport, encode, from_agent

pytestmark = pytest.mark.isolated
LENGTH = struct.Struct(">I")


@pytest.fixture
def careful(wires: Wires) -> Iterator[Reconciler]:
    """The reconciler as an agent has it."""
    with closing(GuardWatch()) as guard, closing(Reconciler(wires.settings, require_guard=guard.require_for)) as made:
        yield made


def nft(commands: str) -> None:
    """As an operator would, on the host."""
    subprocess.run(["nft", commands], check=True, timeout=10)


def taps() -> dict[str, bool]:
    """The taps that there are, and whether they are up."""
    found = {it["ifname"]: it["flags"] for it in ip_json("link show")}
    return {name: "UP" in flags for name, flags in found.items() if name.startswith("tap")}


@pytest.mark.parametrize("table", [None, "flags dormant;"])
def test_a_guarded_router_is_built_once_the_guard_stands(careful: Reconciler, table: str | None) -> None:
    if table is not None:
        nft(f"add table bridge {TABLE} {{ {table} }}")
    with pytest.raises(Unavailable, match=r"the guard .* does not stand"):
        careful.reconcile(router(), guarded=True)
    assert taps() == {}
    assert not (Path("/run/netns") / NAMESPACE).exists()
    with Guard() as guard:
        guard.install()
        careful.reconcile(router(), guarded=True)
    assert taps()[TAP_A]


def test_a_classic_router_needs_no_guard(careful: Reconciler) -> None:
    assert careful.reconcile(router()).changed


def test_taps_that_were_shut_stay_so_until_the_guard_stands(careful: Reconciler) -> None:
    """A host stopped in order, a firewall was loaded meanwhile, and the next agent finds what the one before built."""
    keeper = GuardKeeper()
    with Guard(os.dup(keeper.descriptor())) as guard:
        guard.install()
        careful.reconcile(router(), guarded=True)
    keeper.shut()
    nft("flush ruleset")
    with pytest.raises(Unavailable, match=r"the guard .* does not stand"):
        careful.reconcile(router(), guarded=True)
    assert not any(taps().values())
    with Guard() as guard:
        guard.install()
        assert "RaiseHostLink" in careful.reconcile(router(), guarded=True).what
    assert taps()[TAP_A]


def test_an_agent_says_that_the_guard_is_what_is_missing(wires: Wires) -> None:
    planned = PlannedRouter(
        router=router(), epoch=Epoch(3), guarded=Guarded(incarnation=Incarnation(1), role=Role.STANDBY)
    )
    ours, its = socket.socketpair()
    argv = [
        sys.executable,
        "-P",
        "-m",
        "gapless.agent",
        encode_start(AgentStart(fd=its.fileno(), settings=wires.settings)),
    ]
    with ours, subprocess.Popen(argv, pass_fds=[its.fileno()]) as agent:
        its.close()
        ours.settimeout(60)
        try:
            say(ours, AgentPlan(confirmed=True, revision=Revision(1), routers=(planned,)))
            said = next(each for each in words(ours) if each.state is not RouterState.BUILDING)
        finally:
            ours.close()  # That is the end of the agent, too.
    assert agent.returncode == 0
    assert said.state is RouterState.FAILED
    assert "the guard" in said.reason
    assert taps() == {}


def words(end: socket.socket) -> Iterator[RouterReport]:
    """What an agent says of its router."""
    while True:
        message = hear(end)
        if isinstance(message, AgentReport):
            yield from (each for each in message.routers if each.router_id == ROUTER_ID)


def say(end: socket.socket, message: AgentPlan) -> None:
    body = encode(message)
    end.sendall(LENGTH.pack(len(body)) + body)


def hear(end: socket.socket) -> object:
    (length,) = LENGTH.unpack(end.recv(LENGTH.size, socket.MSG_WAITALL))
    return from_agent.decode(end.recv(length, socket.MSG_WAITALL))

"""Who hears a frame on a root and its leaves, and where bridges look for a router: before and after a takeover."""

import struct
import subprocess
from dataclasses import replace
from ipaddress import IPv4Interface

import pytest
from kernel_fixtures import BRIDGE_OUT, OUTSIDE, Wires, arp
from wide_street import (
    AT_ROOT,
    END,
    LEAF_A,
    ON_A,
    ON_B,
    ROUTERS,
    STRANGER,
    Street,
    address,
    host,
    namespace,
    noise,
    packed,
    port_of,
    request,
    street,
    tap,
)

from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import gateway_link
from gapless.model.router import Gateway, Router
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.announce import Announcer
from gapless.sentinel.beat.guard import Guard
from gapless.sentinel.beat.preparing import NUDGE_ETHERTYPE, ports_of

__all__ = ["host", "street"]

pytestmark = pytest.mark.isolated


@pytest.mark.parametrize("asked", [AT_ROOT[1], ON_A[1], ON_B[1]], ids=["root", "leaf a", "leaf b"])
def test_a_request_goes_to_the_router_that_it_asks_for_and_to_nobody_else(street: Street, asked: Router) -> None:
    frame = request(STRANGER, "203.0.113.55", address(asked))
    street.send(frame)
    assert street.hearers(frame) == {asked.name}


def test_other_broadcasts_reach_no_router(street: Street) -> None:
    for frame in (
        request(STRANGER, "203.0.113.55", "203.0.113.77"),
        request(STRANGER, "203.0.113.77", "203.0.113.77"),
        noise(STRANGER),
    ):
        street.send(frame)
        assert street.hearers(frame) == set()


def test_a_next_hop_that_announces_itself_is_heard_by_every_router(street: Street) -> None:
    frame = request(STRANGER, OUTSIDE, OUTSIDE)
    street.send(frame)
    assert street.hearers(frame) == {it.name for it in ROUTERS}


def test_the_next_machine_hears_what_a_router_on_a_leaf_announces(
    street: Street, wires: Wires, host: Reconciler
) -> None:
    outside = wires.tap("outside", "ext0")
    moved = replace(ON_B[0], gateway=replace_address(ON_B[0], "203.0.113.200/24"))
    host.reconcile(moved)
    outside.until(lambda frame: (said := arp(frame)) is not None and said[2] == said[3] == "203.0.113.200")
    assert wires.reaches("outside", "203.0.113.200")


def replace_address(it: Router, held: str) -> Gateway:
    assert it.gateway is not None
    return replace(it.gateway, port=replace(it.gateway.port, addresses=(IPv4Interface(held),)))


def test_the_guard_stands_at_taps_of_leaves_as_anywhere(street: Street, wires: Wires, host: Reconciler) -> None:
    guarded, classic = ON_A[0], ON_A[1]
    host.reconcile(guarded, guarded=True)
    with Guard() as guard:
        guard.install()
        assert not wires.reaches("outside", address(guarded))
        passed = wires.hear(LEAF_A.leaf_end)
        street.send(request(STRANGER, "203.0.113.55", address(guarded)))
        inside = wires.at(namespace(guarded), lambda: wires.packets(gateway_link(port_of(guarded).id)))
        inside.send(noise(port_of(guarded).mac))
        street.send(noise(STRANGER, port_of(classic).mac, END))
        frames = passed.until(lambda frame: frame[12:14] == struct.pack("!H", END))
        assert not [it for it in frames if it[6:12] == packed(port_of(guarded).mac)], "a standby says nothing"
        assert wires.reaches("outside", address(classic))
        guard.activate([tap(guarded)])
        guard.extend(clock.now() + 60.0)
        assert wires.reaches("outside", address(guarded))
        guard.withdraw()
        assert not wires.reaches("outside", address(guarded))


def test_a_takeover_teaches_the_leaf_and_the_root(street: Street, wires: Wires, host: Reconciler) -> None:
    taken = ON_A[0]
    mac = port_of(taken).mac
    host.reconcile(taken, guarded=True)
    announcer = Announcer()
    announcer.prepare(taken.id, ports_of(taken, {"external": "ext0"}))
    announcer.settle()
    assert announcer.is_ready(taken.id)
    with Guard() as guard:
        guard.install()
        guard.extend(clock.now() + 60.0)
        street.send(request(mac, address(taken), address(taken)))  # It is active on another host.
        wires.eventually(lambda: at(mac) == ("ext0", LEAF_A.leaf_end))
        announcer.burst([taken.id], lambda: True)
        assert at(mac) == ("ext0", LEAF_A.leaf_end), "a standby's frames teach nothing"
        guard.activate([tap(taken)])
        neighbour, root = wires.hear(tap(ON_A[1])), wires.hear(tap(AT_ROOT[0]))
        burst = announcer.burst([taken.id], lambda: True)
        assert (burst.lost, burst.unready) == (0, [])
        wires.eventually(lambda: at(mac) == (LEAF_A.root_end, tap(taken)))
        for heard, it in ((neighbour, ON_A[1]), (root, AT_ROOT[0])):
            street.send(noise(STRANGER, port_of(it).mac, END))
            frames = heard.until(lambda frame: frame[12:14] == struct.pack("!H", END))
            assert not [each for each in frames if each[12:14] == struct.pack("!H", NUDGE_ETHERTYPE)]
        assert wires.reaches("outside", address(taken))
        guard.deactivate([tap(taken)])
        street.send(request(mac, address(taken), address(taken)))
        wires.eventually(lambda: at(mac) == ("ext0", LEAF_A.leaf_end))
    announcer.close()


def at(mac: str) -> tuple[str | None, str | None]:
    """Where the root and the first leaf look for an address."""
    return found_at(BRIDGE_OUT, mac), found_at(LEAF_A.bridge, mac)


def found_at(bridge: str, mac: str) -> str | None:
    """The port at which a bridge looks for an address."""
    entries = subprocess.run(["bridge", "fdb", "show", "br", bridge], capture_output=True, text=True, check=True)
    ports = [it.split()[2] for it in entries.stdout.splitlines() if it.startswith(mac) and " self" not in it]
    return ports[0] if ports else None

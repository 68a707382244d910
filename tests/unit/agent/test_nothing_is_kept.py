"""An agent that sees routers and networks come and go for months holds on to those that are there."""

import threading

import pytest
from kernel_in_memory import planned, with_gateway
from worklist_rig import RIGHT, Bench

from gapless.agent import places
from gapless.agent.jobs import Failed
from gapless.agent.networkturns import NetworkTurns
from gapless.agent.places import Places
from gapless.core.dataplane.gateways import Deafness
from gapless.kernel.netlink import Netlink
from gapless.model.leaf import Plugged
from gapless.model.network import NetworkId
from gapless.model.observed import Segment
from gapless.model.router import RouterId
from sizes import sizes

MANY = 30


def come_and_go(bench: Bench, number: int) -> None:
    """Two routers on networks of their own, with all that may befall them."""
    one, two = f"one{number}", f"two{number}"
    bench.plan(planned("stays"), with_gateway(one), planned(two, network=f"n{number}"))
    bench.work_off()
    bench.now += 1
    for name in (one, two):
        bench.hear(name)
    bench.work_off(Failed(reason="busy"))
    bench.hear(two)
    bench.hear(network=f"n{number}")
    bench.now += 10
    bench.work_off(RIGHT)
    bench.worklist.take_deafness({way: Deafness("deaf") for way in bench.worklist.ways_out()}, bench.now)
    bench.worklist.take_conflicts({RouterId(one): "another machine"}, bench.now)
    bench.worklist.hold(bench.now, unbuilt=[RouterId(two)])
    bench.worklist.hold(bench.now, unbuilt=None)
    bench.hear(one)
    bench.plan(planned("stays"))
    bench.work_off(RIGHT)
    bench.worklist.take_conflicts({}, bench.now)
    bench.now += 100
    bench.work_off(RIGHT)
    bench.worklist.take_report()
    bench.worklist.take_lines()


def test_the_worklist_keeps_nothing_of_routers_that_are_gone() -> None:
    bench = Bench()
    come_and_go(bench, 0)
    after_one = sizes(bench.worklist)
    for number in range(1, MANY):
        come_and_go(bench, number)
    assert sizes(bench.worklist) == after_one
    assert after_one["Worklist._entries"] == 1, "it is looked where things are"


def test_networks_whose_turn_is_over_have_no_lock() -> None:
    turns = NetworkTurns()
    for number in range(MANY):
        with turns.of(NetworkId(f"n{number}")):
            assert sizes(turns) == {"NetworkTurns._turns": 1}
    assert sizes(turns) == {}


def test_work_on_one_network_takes_turns_and_on_two_does_not() -> None:
    turns = NetworkTurns()
    is_waiting, has_had = threading.Event(), threading.Event()

    def work() -> None:
        is_waiting.set()
        with turns.of(NetworkId("a")):
            has_had.set()

    with turns.of(NetworkId("a")):
        other = threading.Thread(target=work)
        other.start()
        assert is_waiting.wait(10)
        with turns.of(NetworkId("b")):
            assert not has_had.is_set()
    other.join(10)
    assert has_had.is_set()
    with pytest.raises(ValueError, match="no"), turns.of(NetworkId("a")):
        raise ValueError("no")
    assert sizes(turns) == {}


def test_of_networks_that_no_router_is_on_no_places_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "masters", lambda *_: ({}, None))
    monkeypatch.setattr(
        places, "plugged", lambda *_: (Plugged(ports={0: frozenset({"eth1"})}, foreign=frozenset()), {})
    )
    known = Places()
    host = object.__new__(Netlink)

    def plug(router_id: str, *networks: str) -> None:
        segments = [Segment(network_id=NetworkId(it), bridge=f"brq{it}", mtu=1500) for it in networks]
        taps = [frozenset({f"tap-{router_id}-{it}"}) for it in networks]
        assert set(known.plug(host, RouterId(router_id), zip(segments, taps, strict=True)).values()) == {0}

    plug("stays", "shared")
    before = sizes(known)
    for number in range(MANY):
        plug(f"r{number}", "shared", f"n{number}", f"left{number}")
        plug(f"r{number}", "shared", f"n{number}")
        known.forget([RouterId(f"r{number}")])
    known.doubt()
    plug("next", "shared")
    known.forget([RouterId("next")])
    after = sizes(known)
    assert {path: count for path, count in after.items() if "ports" not in path} == {
        path: count for path, count in before.items() if "ports" not in path
    }

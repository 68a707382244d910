"""When announcements are repeated."""

from gapless.model.router import RouterId
from gapless.sentinel.beat.repeats import Repeats

A, B, C = RouterId("a"), RouterId("b"), RouterId("c")


def test_a_burst_is_repeated_twice_in_its_order() -> None:
    repeats = Repeats()
    assert repeats.next_deadline() is None
    repeats.begin([B, A], now=10.0)
    assert repeats.next_deadline() == 10.1
    assert repeats.due(10.05) == {}
    assert list(repeats.due(10.1).items()) == [(B, 1), (A, 1)]
    assert repeats.due(10.1) == {}
    assert repeats.next_deadline() == 11.0
    assert repeats.due(11.5) == {B: 2, A: 2}
    assert repeats.next_deadline() is None


def test_what_is_late_is_told_once() -> None:
    repeats = Repeats()
    repeats.begin([A], now=0.0)
    repeats.begin([B], now=0.5)
    assert repeats.due(30.0) == {A: 2, B: 2}
    assert repeats.next_deadline() is None


def test_a_new_burst_begins_anew() -> None:
    repeats = Repeats()
    repeats.begin([A, B], now=0.0)
    repeats.begin([A], now=0.05)
    assert repeats.due(0.1) == {B: 1}
    assert repeats.due(0.2) == {A: 1}
    assert repeats.due(1.0) == {B: 2}
    assert repeats.due(1.1) == {A: 2}


def test_a_forgotten_router_is_never_due() -> None:
    repeats = Repeats()
    repeats.begin([A, B, C], now=0.0)
    repeats.forget(B)
    repeats.forget(RouterId("unknown"))
    assert repeats.due(0.1) == {A: 1, C: 1}
    repeats.forget(A)
    repeats.begin([A], now=0.2)
    assert repeats.due(0.4) == {A: 1}
    assert repeats.due(1.0) == {C: 2}


def test_nothing_begun_is_nothing_due() -> None:
    repeats = Repeats()
    repeats.begin([], now=0.0)
    assert repeats.next_deadline() is None

"""Announcements in turn: what was just opened first, a few at a time, and nothing that was closed meanwhile."""

from math import inf

from beat_fakes import FakeAnnouncer, X, Y, Z, router

from gapless.model.router import RouterId
from gapless.sentinel.beat.announcements import (
    EVERY_ADDRESS,
    LATE_MOST,
    LOOK_S,
    ROUTERS_AT_ONCE,
    Announcements,
)
from gapless.sentinel.beat.repeats import REPEATS_S
from gapless.wire.beat import BeatPort, BeatRouter


class Bench:
    """Announcements on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.announcer = FakeAnnouncer()
        self.until = inf
        self.it = Announcements(self.announcer, lambda: self.now, lease_until=lambda: self.until)
        self.told: list[tuple[tuple[RouterId, ...], float]] = []
        self.it.announced = lambda *told: self.told.append(told)

    def work(self) -> list[RouterId]:
        """What one turn sends."""
        before = len(self.announcer.sent)
        self.it.work()
        return self.announcer.sent[before:]

    def after(self, wait_s: float) -> list[RouterId]:
        """What one turn sends later."""
        self.now += wait_s
        return self.work()

    def rest(self) -> list[RouterId]:
        """What the turns after it send, until nothing is due."""
        before = len(self.announcer.sent)
        self.it.work()
        while self.it.next_deadline() == self.now:
            self.it.work()
        return self.announcer.sent[before:]


def many(count: int) -> list[RouterId]:
    return [RouterId(f"{number:03}") for number in range(count)]


def test_first_at_once_and_again_after_a_while() -> None:
    bench = Bench()
    assert bench.it.next_deadline() is None
    bench.it.announce([X, Y])
    assert bench.it.next_deadline() == bench.now
    assert bench.work() == [X, Y]
    assert bench.told == [((X, Y), 100.0)]
    assert bench.it.next_deadline() == 100.0 + REPEATS_S[0]
    assert bench.work() == []
    assert bench.after(REPEATS_S[0]) == [X, Y]
    assert [*bench.after(REPEATS_S[1]), *bench.work()] == [X, Y]
    assert bench.after(100) == []
    assert bench.it.next_deadline() is None
    assert bench.announcer.turns == [0, 1, 2, 2]
    assert len(bench.told) == 1, "repeats are nobody's news"


def test_a_thousand_come_in_chunks_in_their_order() -> None:
    bench = Bench()
    bench.it.announce(many(1000))
    while bench.it.next_deadline() == bench.now:
        assert len(bench.work()) <= ROUTERS_AT_ONCE[0]
    assert bench.announcer.sent == many(1000)


def test_what_was_just_opened_comes_before_repeats() -> None:
    bench = Bench()
    bench.it.announce(many(20))
    for _ in range(3):
        bench.work()
    assert bench.after(REPEATS_S[0]) == many(20)[:2]
    bench.it.announce([X])
    assert bench.work() == [X]
    assert [each for _ in range(9) for each in bench.work()] == many(20)[2:]


def test_what_is_closed_is_announced_no_more_wherever_it_waits() -> None:
    bench = Bench()
    bench.it.announce([*many(8), X, Y, Z])
    bench.work()
    bench.it.silence([RouterId("000"), X])
    assert bench.work() == [Y, Z]
    bench.it.silence([Y])
    assert [*bench.after(REPEATS_S[0]), *bench.rest()] == [*many(8)[1:], Z]
    bench.it.silence([Z])
    assert [*bench.after(REPEATS_S[1]), *bench.rest()] == many(8)[1:]


def test_what_is_opened_again_is_announced_again() -> None:
    bench = Bench()
    bench.it.announce([X])
    bench.it.silence([X])
    bench.it.announce([X])
    assert bench.work() == [X]
    assert bench.after(REPEATS_S[0]) == [X]


def test_a_router_waits_once_however_often_it_is_asked_for() -> None:
    bench = Bench()
    for _ in range(1000):
        bench.it.announce([X, Y])
        bench.it.announce_again([X, Y, Z])
    assert [bench.work(), bench.work(), bench.work()] == [[X, Y], [Z], []]


def test_what_was_not_ready_is_announced_as_soon_as_it_is_and_before_all_others() -> None:
    """The successor had just been restarted, and its announcements take longer to prepare than the repeats last."""
    bench = Bench()
    bench.announcer.unready = {X, Y, Z}
    bench.it.announce([X, Y, Z])
    bench.work()
    for wait_s in REPEATS_S:
        bench.after(wait_s)
        bench.rest()
    assert (bench.announcer.sent, bench.told) == ([], [((), 100.0)])
    assert bench.it.next_deadline() == bench.now + LOOK_S
    bench.it.announce(many(8))
    bench.announcer.become_whole(Y, X)
    assert bench.work() == [Y, X]
    assert bench.told[1:] == [((Y, X), bench.now)]
    assert bench.work() == many(8)
    assert [*bench.after(REPEATS_S[0]), *bench.rest()] == [Y, X, *many(8)], "they are repeated like any other"


def test_what_is_given_more_is_announced_whole_at_once_however_soon_more_is_given() -> None:
    """A router gets floating IPs one after another, each before the repeat that the last one would have come with."""
    bench = Bench()
    bench.it.announce([X])
    bench.work()
    for _ in range(5):
        bench.it.announce_whole([X])
        assert bench.after(REPEATS_S[0] / 2) == [X]
    assert bench.announcer.turns == [0] + [EVERY_ADDRESS] * 5
    bench.announcer.unready = {X}
    bench.it.announce_whole([X])
    assert bench.rest() == []
    bench.announcer.become_whole(X)
    assert bench.rest() == [X]
    assert bench.announcer.turns[-2:] == [EVERY_ADDRESS] * 2


def test_what_was_just_opened_comes_before_all_that_was_given_more() -> None:
    bench = Bench()
    bench.it.announce_whole(many(20))
    assert bench.work() == many(20)[:2]
    bench.it.announce([X, RouterId("019")])
    assert bench.work() == [X, RouterId("019")]
    assert bench.rest() == many(20)[2:], "the last one once more, with all that it was given"
    assert set(bench.announcer.turns) == {0, EVERY_ADDRESS}
    assert sorted(bench.after(REPEATS_S[0]) + bench.rest()) == sorted([*many(20), X]), "each is repeated once"


def test_what_was_given_more_and_is_closed_is_announced_no_more() -> None:
    bench = Bench()
    bench.it.announce_whole([X, Y])
    bench.it.silence([X])
    assert bench.rest() == [Y]
    bench.announcer.unready = {Y}
    bench.it.announce_whole([Y])
    bench.work()
    bench.it.silence([Y])
    bench.announcer.become_whole(Y)
    assert bench.rest() == []


def test_what_was_closed_meanwhile_is_not_announced_when_it_is_ready() -> None:
    bench = Bench()
    bench.announcer.unready = {X, Y}
    bench.it.announce([X, Y])
    bench.work()
    bench.it.silence([X])
    bench.announcer.become_whole(X, Y, Z)
    bench.it.silence([Y])
    assert bench.rest() == []
    assert bench.it.next_deadline() == 100.0 + REPEATS_S[0], "nothing is awaited any more"


def test_what_is_said_to_be_ready_and_is_not_is_tried_some_times() -> None:
    bench = Bench()
    bench.announcer.unready = {X}
    bench.it.announce([X])
    for _ in range(100):
        bench.announcer.whole = [X]
        bench.rest()
    assert len(bench.announcer.chunks) == 1 + LATE_MOST
    bench.it.announce([X])
    bench.announcer.become_whole(X)
    assert bench.work() == [X]


def test_nobody_looks_for_what_nobody_prepares() -> None:
    bench = Bench()
    bench.announcer.unready = {X}
    bench.it.announce([X])
    bench.work()
    for wait_s in REPEATS_S:
        bench.after(wait_s)
    bench.announcer.unready = set()  # as far as it could be, which is not enough
    assert bench.it.next_deadline() is None


def test_a_port_without_a_way_out_is_not_prepared() -> None:
    bench = Bench()
    ports = tuple(
        BeatPort(link="qr-1", mac="02:00:00:00:00:01", addresses=(), bridge="b", way_out=way_out)
        for way_out in ("vxlan-1", "")
    )
    plain = router(X)
    bench.it.prepare(BeatRouter(router_id=X, epoch=plain.epoch, guarded=plain.guarded, taps=plain.taps, ports=ports))
    assert [port.way_out for port in bench.announcer.ports[X]] == ["vxlan-1"]


def test_a_forgotten_router_is_silent_and_let_go() -> None:
    bench = Bench()
    bench.it.announce([X])
    bench.it.forget(X)
    assert (bench.work(), bench.announcer.forgotten) == ([], [X])


def test_a_process_that_is_stopped_within_a_chunk_announces_nothing_when_its_lease_is_over() -> None:
    """What it sent then would point switches to a host that is over, after the last word of its successor."""
    bench = Bench()
    bench.until = bench.now + 0.2
    bench.it.announce([X, Y, Z])

    def be_stopped() -> None:
        bench.now += 4.0

    bench.announcer.pause = be_stopped
    assert bench.work() == [X]
    assert bench.told == [((X,), bench.now)]
    bench.announcer.pause = lambda: None
    assert bench.it.next_deadline() is None, "nothing waits for a time; a beat is due anyway"
    assert (bench.work(), bench.after(REPEATS_S[0]), bench.after(REPEATS_S[1])) == ([], [], [])


def test_what_waits_is_announced_when_the_lease_goes_on() -> None:
    bench = Bench()
    bench.it.announce([X, Y])
    bench.until = bench.now
    assert bench.work() == []
    bench.until = bench.now + 0.2
    assert bench.it.next_deadline() == bench.now
    assert bench.work() == [X, Y]
    bench.now += REPEATS_S[0]
    bench.until = bench.now
    assert bench.work() == []
    bench.until = inf
    assert bench.work() == [X, Y]

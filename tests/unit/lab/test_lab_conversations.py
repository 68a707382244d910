"""What is said on a connection of each kind, by whom, and what counts as heard."""

from dataclasses import dataclass, field

import pytest

from gapless.lab.measuring.connections import Connection, Endpoint, Kind, interval_ms_for
from gapless.lab.measuring.conversations import CONVERSATIONS, LINE, RTO_MS, Conversation, Side, seldom_ms
from gapless.lab.measuring.talker import LAST_WORDS_S
from gapless.lab.settings import MOST_FLOWS

VM = Endpoint(netns="vm-1", address="192.168.10.3")
OPENER, ACCEPTOR = Side.OPENER, Side.ACCEPTOR
LISTENER = {
    Kind.DOWNLOAD: OPENER,
    Kind.UPLOAD: ACCEPTOR,
    Kind.IDLE: OPENER,
    Kind.REQUEST: OPENER,
    Kind.UDP: OPENER,
    Kind.UDP_DOWNLOAD: OPENER,
    Kind.FLOATING_DOWNLOAD: ACCEPTOR,
    Kind.FLOATING_UPLOAD: OPENER,
}
UDP = (Kind.UDP, Kind.UDP_DOWNLOAD)


@dataclass
class Wire:
    """Carries words at once, or loses them; a tick is 100 ms."""

    talk: Conversation
    now_ms: int = 1000
    is_cut: bool = False
    carried: list[Side] = field(default_factory=list)
    """Who said something that arrived."""

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now_ms += 100
            words = list(self.talk.tick(self.now_ms * 1_000_000))
            while words:
                side, said = words.pop(0)
                if self.is_cut:
                    continue
                self.carried.append(side)
                across = ACCEPTOR if side is OPENER else OPENER
                words += self.talk.hear(across, said, self.now_ms * 1_000_000)


def wire(kind: Kind) -> Wire:
    talk = CONVERSATIONS[kind](Connection(router_id="r1", kind=kind, vm=VM, target=""), 100)
    return Wire(talk)


@pytest.mark.parametrize("kind", Kind)
def test_who_listens_hears_what_the_other_side_says(kind: Kind) -> None:
    on = wire(kind)
    on.run(3)
    assert on.talk.heard >= 2
    said = {ACCEPTOR if LISTENER[kind] is OPENER else OPENER}
    if kind in (*UDP, Kind.REQUEST):
        said |= {OPENER}
    assert set(on.carried) == said


@pytest.mark.parametrize("kind", Kind)
def test_a_stall_is_the_longest_time_in_which_nothing_was_heard(kind: Kind) -> None:
    on = wire(kind)
    on.run(5)
    on.talk.begin()
    if kind is Kind.REQUEST:  # what TCP has, it sends again: nothing is lost on this wire but time
        on.now_ms += 300
    else:
        on.is_cut = True
        on.run(3)
        on.is_cut = False
    on.run(2)
    on.talk.ask_end()
    on.run(2)
    course = on.talk.course()
    assert (course.stall_ms, course.is_heard, course.broken) == (400, True, "")


@pytest.mark.parametrize("kind", Kind)
def test_what_says_nothing_more_stalls_and_by_udp_is_broken(kind: Kind) -> None:
    on = wire(kind)
    on.run(5)
    on.is_cut = True
    on.talk.ask_end()
    on.run(5)
    assert on.talk.is_awaited
    course = on.talk.course()
    assert not course.is_heard
    assert course.broken == ("nothing was heard any more" if kind in UDP else "")


@pytest.mark.parametrize("kind", UDP)
def test_datagrams_that_were_lost_are_counted_between_begin_and_end(kind: Kind) -> None:
    on = wire(kind)
    on.run(3)
    on.is_cut = True
    on.run(2)
    on.talk.begin()
    on.run(3)
    on.is_cut = False
    on.run(4)
    on.talk.ask_end()
    on.run(2)
    course = on.talk.course()
    assert (course.datagrams, course.datagrams_lost) == (7, 3)


def test_a_datagram_that_was_on_its_way_at_the_end_does_not_stand_for_what_is_said_after() -> None:
    on = wire(Kind.UDP)
    on.run(2)
    ((_, late),) = on.talk.tick(0)
    on.talk.ask_end()
    on.talk.hear(OPENER, late, 0)
    assert on.talk.is_awaited
    assert on.talk.course().datagrams_lost == 0
    on.run(1)
    assert not on.talk.is_awaited


def test_who_asks_waits_for_the_answer_and_a_question_in_pieces_is_answered_once() -> None:
    talk = wire(Kind.REQUEST).talk
    assert talk.tick(0) == ((OPENER, LINE),)
    assert talk.tick(0) == ()
    assert talk.hear(ACCEPTOR, LINE[:10], 0) == ()
    assert talk.hear(ACCEPTOR, LINE[10:], 0) == ((ACCEPTOR, LINE),)
    talk.hear(OPENER, LINE[:60], 0)
    assert (talk.tick(0), talk.heard) == ((), 0)
    talk.hear(OPENER, LINE[60:], 0)
    assert (talk.tick(0), talk.heard) == (((OPENER, LINE),), 1)


def test_in_a_download_by_udp_the_vm_speaks_seldom() -> None:
    on = wire(Kind.UDP_DOWNLOAD)
    on.run(31)
    assert (on.carried.count(OPENER), on.carried.count(ACCEPTOR)) == (5, 30)


def test_an_idle_connection_speaks_seldom_and_is_heard_before_the_end() -> None:
    assert [seldom_ms(interval_ms) for interval_ms in (100, 1000, 2500)] == [1000, 10_000, 10_000]
    assert CONVERSATIONS[Kind.UPLOAD].pause_ms(100) == 100
    assert CONVERSATIONS[Kind.IDLE].pause_ms(100) == 1000
    assert seldom_ms(interval_ms_for(MOST_FLOWS)) / 1000 < LAST_WORDS_S
    on = wire(Kind.IDLE)
    assert on.talk.pause_ns == 100e6, "until it was heard"
    on.run(1)
    assert on.talk.pause_ns == 1000e6


@pytest.mark.parametrize("gap_ms", [0, 1, 180, 200, 201, 599, 601, 3000, 60_000])
def test_the_retransmission_that_follows_a_gap_is_never_later_than_is_allowed(gap_ms: float) -> None:
    """With or without a tail loss probe before the first one, which is sent again after the same time."""
    for probed_ms in (0.0, RTO_MS):
        at_ms, wait_ms = probed_ms, RTO_MS
        while at_ms < gap_ms:
            at_ms, wait_ms = at_ms + wait_ms, 2 * wait_ms
        assert 100 + at_ms <= CONVERSATIONS[Kind.DOWNLOAD].stall_ms_most(100, gap_ms)


def test_the_datagram_that_follows_a_gap_is_a_pause_later_at_most() -> None:
    for kind in UDP:
        assert CONVERSATIONS[kind].stall_ms_most(100, 180) == 380

"""What a fault promises, held against what was measured."""

from dataclasses import replace

import msgspec
import pytest

from gapless.lab.faults import FAULTS
from gapless.lab.faults.base import RESCHEDULED
from gapless.lab.findings.expect import KEPT, NAMED, Bounds, Expected, Gap, Measured, Moves, problems
from gapless.lab.measuring.double_active import Overlap
from gapless.lab.measuring.survival import Survival, Survivals
from gapless.model.router import FailoverMode

GOOD = Measured(
    affected=["r1", "r2"],
    moved=["r1", "r2"],
    recorded=2,
    gap_ms=4000,
    bystanders_ms=20,
    sent=100,
    lost=10,
    answered_within_ms=5000,
    double_active_frames=0,
)
ANYTHING = Expected(gap=Gap.LASTS)


def test_what_was_promised_held() -> None:
    assert problems(RESCHEDULED, Bounds(gap_ms={Gap.RESCHEDULE: 5000}, bystanders_ms=50), GOOD) == []


def test_a_fault_that_must_cost_nothing_lost_a_probe() -> None:
    (said,) = problems(Expected(gap=Gap.NONE), Bounds(), GOOD)
    assert said == "10 probes of 100 lost to a fault that must cost nothing"
    assert problems(Expected(gap=Gap.NONE), Bounds(), replace(GOOD, lost=0)) == []


def test_a_fault_that_must_cost_nothing_held_probes_up_without_losing_one() -> None:
    held_up = replace(GOOD, lost=0, gap_ms=200, bystanders_ms=900, answered_within_ms=300)
    (said,) = problems(Expected(gap=Gap.NONE), Bounds(), held_up)
    assert said == "nothing was answered for 900 ms, of a fault that must cost nothing"


def test_what_moved_away_and_back_has_moved() -> None:
    (said,) = problems(Expected(gap=Gap.LASTS, moves=Moves.NONE), Bounds(), replace(GOOD, moved=[], recorded=2))
    assert said == "2 moves were recorded, there and back, and none should have been"


def test_a_fault_that_hit_no_router_measured_nothing() -> None:
    missed = replace(GOOD, affected=[], moved=[])
    assert problems(RESCHEDULED, Bounds(), replace(missed, must_affect=True)) == [
        "no router was active on a host that was struck, so nothing was measured"
    ]
    assert problems(RESCHEDULED, Bounds(), missed) == []


def test_a_gap_is_judged_by_the_bound_of_its_kind_and_by_no_other() -> None:
    (said,) = problems(RESCHEDULED, Bounds(gap_ms={Gap.RESCHEDULE: 3999}), GOOD)
    assert said == "a gap was 4,000 ms long, and may be 3,999 ms (reschedule)"
    assert problems(RESCHEDULED, Bounds(gap_ms={Gap.TAKEOVER: 100}), GOOD) == []


def test_a_router_that_was_not_struck_is_judged_by_its_own_bound() -> None:
    (said,) = problems(ANYTHING, Bounds(bystanders_ms=19), GOOD)
    assert "that was not struck" in said


@pytest.mark.parametrize(
    ("moves", "moved", "words"),
    [
        (Moves.NONE, ["r1"], "1 router moved, and none should have"),
        (Moves.STRUCK, ["r1"], "1 router of 2 struck did not move"),
        (Moves.STRUCK, ["r1", "r2", "r3"], "1 router moved that were not struck"),
    ],
)
def test_who_moved_is_who_should_have(moves: Moves, moved: list[str], words: str) -> None:
    assert problems(Expected(gap=Gap.LASTS, moves=moves), Bounds(), replace(GOOD, moved=moved)) == [words]
    assert problems(ANYTHING, Bounds(), replace(GOOD, moved=moved)) == []


def test_two_hosts_active_at_once_fail_a_run_unless_the_mode_has_no_fence_against_the_fault() -> None:
    twice = replace(GOOD, double_active_frames=7)
    (said,) = problems(ANYTHING, Bounds(), twice)
    assert said == "two hosts were active for one router: 7 frames of the one that was over"
    assert problems(replace(ANYTHING, two_active=True), Bounds(), twice) == []


def test_who_was_active_beside_whom_is_said_of_the_first_few() -> None:
    overlap = Overlap(router_id="r1", host="a", present="b", frames=1, first_ms=0.5, last_ms=2.0)
    (said,) = problems(ANYTHING, Bounds(), replace(GOOD, double_active_frames=9, overlaps=[overlap] * 9))
    assert said.count("of router r1") == NAMED
    assert "(1 of a, 0.5 to 2.0 ms after the first one of b, of router r1; " in said


def test_a_capture_with_holes_fails_a_run_and_says_so() -> None:
    blind = replace(GOOD, double_active_frames="unknown", frames_missed=3)
    for expected in (ANYTHING, replace(ANYTHING, two_active=True)):
        (said,) = problems(expected, Bounds(), blind)
        assert said == "whether two hosts were active is unknown: 3 frames were not captured"
        (said,) = problems(expected, Bounds(), replace(blind, frames_missed=0))
        assert said == "whether two hosts were active is unknown: the capture failed"


SURVIVED = Survival(connections=24, survived=24, stall_ms_median=300, stall_ms_max=400)
TAKEOVER = Expected(gap=Gap.TAKEOVER)


def talked(struck: Survival = SURVIVED, others: Survival = SURVIVED, *, synced: bool = True) -> Measured:
    survivals = Survivals(struck={"download": struck}, bystanders=others, synced=synced, interval_ms=100)
    return replace(GOOD, gap_ms=200, answered_within_ms=180, connections=survivals)


def test_connections_that_were_copied_and_lost_are_a_problem() -> None:
    lost = Survival(connections=24, survived=21, stalled=2, broken=1)
    (said,) = problems(TAKEOVER, Bounds(), talked(lost))
    words = "24 connections of kind download had been copied, and 3 did not survive: 2 stalled, 1 broken"
    assert said == words
    (said,) = problems(TAKEOVER, Bounds(), talked(others=lost))
    assert said == words.replace("of kind download", "not struck")
    assert problems(TAKEOVER, Bounds(), talked()) == []
    assert problems(TAKEOVER, Bounds(), talked(lost, synced=False)) == [], "nobody copied them"


@pytest.mark.parametrize("gap", Gap)
def test_they_are_judged_where_a_router_goes_on_with_a_table_that_has_them(gap: Gap) -> None:
    lost = talked(replace_survival(SURVIVED, survived=23, stalled=1))
    harmless = replace(lost, lost=0, gap_ms=100, answered_within_ms=5000)
    assert len(problems(Expected(gap=gap), Bounds(), harmless)) == (gap in KEPT)


def test_a_stall_may_be_longer_than_the_gap_by_one_retransmission_and_not_by_two() -> None:
    """A gap of 200 ms: 100 of pause, 200, the retransmission's 400, and 180 of a busy machine."""
    assert problems(TAKEOVER, Bounds(), talked(replace_survival(SURVIVED, stall_ms_max=880))) == []
    (said,) = problems(TAKEOVER, Bounds(), talked(replace_survival(SURVIVED, stall_ms_max=1500)))
    assert said == (
        "a connection of kind download stalled for 1,500 ms, and may for 880 ms at a gap of 200 ms, "
        "with the time until what was lost is said again"
    )


def test_datagrams_are_not_said_again_so_udp_may_stall_for_a_pause_more_than_the_gap() -> None:
    """A gap of 200 ms, 100 of pause before and after it, and 180 of a busy machine."""

    def found(stall_ms: float, **lost: int) -> Measured:
        one = Survival(connections=9, survived=9 - sum(lost.values()), stall_ms_max=stall_ms, **lost)
        survivals = Survivals(struck={"udp": one}, bystanders=Survival(), synced=True, interval_ms=100)
        return replace(GOOD, gap_ms=200, answered_within_ms=180, connections=survivals)

    assert problems(TAKEOVER, Bounds(), found(580)) == []
    (said,) = problems(TAKEOVER, Bounds(), found(581))
    assert said.startswith("a connection of kind udp stalled for 581 ms, and may for 580 ms")
    (said,) = problems(TAKEOVER, Bounds(), found(300, broken=2))
    assert said == "9 connections of kind udp had been copied, and 2 did not survive: 0 stalled, 2 broken"


def test_a_connection_that_was_not_struck_is_judged_by_the_gap_of_such_routers() -> None:
    """Idle ones are among them, which speak once a second; the gap of others was 20 ms."""
    assert problems(TAKEOVER, Bounds(), talked(others=replace_survival(SURVIVED, stall_ms_max=1420))) == []
    (said,) = problems(TAKEOVER, Bounds(), talked(others=replace_survival(SURVIVED, stall_ms_max=1421)))
    assert "a connection not struck stalled for 1,421 ms, and may for 1,420 ms" in said


def replace_survival(one: Survival, **changes: float) -> Survival:
    return msgspec.structs.replace(one, **changes)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_says_what_it_may_cost_in_every_mode(name: str) -> None:
    kind = FAULTS[name]
    for mode in FailoverMode:
        assert kind.expects(mode).gap in Gap
    assert set(kind.expected) == {"reschedule", "standby"}
    assert not kind.expected["standby"].two_active, "a standby has a fence against everything"
    moves = kind.expects(FailoverMode.OFF).moves
    assert moves is (Moves.STRUCK if name == "drain" else Moves.NONE), "but for an operator's word"


def test_without_failover_what_would_have_moved_lasts() -> None:
    assert FAULTS["host-power"].expects(FailoverMode.OFF).gap is Gap.LASTS
    assert FAULTS["agent-kill"].expects(FailoverMode.OFF).gap is Gap.NONE

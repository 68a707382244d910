"""When silence becomes death, and when the controller was deaf."""

import pytest

from gapless.config import Liveness
from gapless.core.ledger.liveness import Attention, Silence, Standing, excused_s

TIMING = Liveness(report_interval_s=30, agent_down_time_s=75)


def test_silence_grows_into_death() -> None:
    silence = Silence(counted_from=0)
    silence.end(10)
    standings = []
    for now in (84.9, 85, 159.9, 160, 500):
        changed = silence.judge(now, TIMING)
        standings.append((silence.standing, changed))
    assert standings == [
        (Standing.ALIVE, False),
        (Standing.SILENT, True),
        (Standing.SILENT, False),
        (Standing.DEAD, True),
        (Standing.DEAD, False),
    ]
    assert silence.length_s(500) == 490
    silence.end(501)
    assert silence.standing is Standing.ALIVE


def test_a_host_not_heard_since_the_start_is_expected_and_counts_as_alive() -> None:
    silence = Silence(counted_from=100)
    assert silence.standing is Standing.EXPECTED
    assert silence.is_alive
    assert silence.length_s(130) == 30


@pytest.mark.parametrize(
    ("now", "standing", "dead_at"), [(50, Standing.ALIVE, 190), (80, Standing.SILENT, 190), (160, Standing.DEAD, 160)]
)
def test_what_is_excused_does_not_count_and_changes_no_standing(now: float, standing: Standing, dead_at: float) -> None:
    silence = Silence(counted_from=0)
    silence.end(0)
    silence.judge(now, TIMING)
    silence.excuse(40, now)
    assert silence.standing is standing
    silence.judge(dead_at - 0.1, TIMING)
    assert silence.standing is (Standing.DEAD if standing is Standing.DEAD else Standing.SILENT)
    silence.judge(dead_at, TIMING)
    assert silence.standing is Standing.DEAD


def test_no_more_is_excused_than_there_was() -> None:
    silence = Silence(counted_from=0)
    silence.end(10)
    silence.excuse(1000, 30)
    assert silence.counted_from == 30


def test_a_pause_is_excused_with_as_much_again_up_to_a_report_interval() -> None:
    assert excused_s(3, TIMING) == 6
    assert excused_s(400, TIMING) == 430


def test_the_silence_that_people_are_told_of_is_the_real_one() -> None:
    silence = Silence(counted_from=0)
    silence.end(10)
    silence.excuse(190, 200)
    assert silence.length_s(210) == 200


@pytest.mark.parametrize(
    ("down_time_s", "tick_s", "away_after_s"), [(75.0, 1.0, 3.0), (4.0, 0.5, 2.5), (0.8, 0.1, 0.5)]
)
def test_what_counts_as_a_pause(down_time_s: float, tick_s: float, away_after_s: float) -> None:
    attention = Attention(Liveness(report_interval_s=down_time_s / 2, agent_down_time_s=down_time_s), now=0)
    assert (attention.tick_s, attention.away_after_s) == (pytest.approx(tick_s), pytest.approx(away_after_s))
    assert attention.notice(0.9 * away_after_s) is None
    assert attention.notice(2 * away_after_s) == pytest.approx(1.1 * away_after_s)
    assert attention.notice(2 * away_after_s) is None

"""However a router breaks, it is moved so often at most, and it is moved again in the end."""

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.ledger.tours import AT_ONCE, FORGOTTEN_S, MOST_S, PAUSE_S, Tour
from gapless.model.host import HostName

HOSTS = [HostName(f"h{number}") for number in range(1, 6)]
ROUNDING_S = 1e-3
REASONS = ["", "no such device", "no memory", "nft: too many elements"]

breaks = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 200), st.floats(0, 2 * MOST_S), st.sampled_from([0.0, FORGOTTEN_S, 2 * FORGOTTEN_S])),
        st.floats(0, 2 * MOST_S),
        st.sampled_from(HOSTS),
        st.sampled_from(REASONS),
    ),
    max_size=80,
)
"""Each: how long it was active before, after how long it leaves if it is not damped, where, and for which reason."""


def moves_of(taken: list[tuple[float, float, HostName, str]], *, eager: bool) -> list[float]:
    """When it was moved. `eager`: as soon as it may, every time."""
    tour, now, moved = Tour(), 0.0, []
    for active_s, later_s, host, reason in taken:
        if active_s:
            tour.is_active(now)
            now += active_s
        tour.failed(host, reason, now)
        damping = tour.damping(now)
        if damping is not None and (eager or later_s >= damping.until - now):
            now = damping.until
        if tour.damping(now) is None:
            moved.append(now)
            tour.moved(now)
    return moved


@given(taken=breaks, eager=st.booleans())
def test_never_more_moves_within_any_time_than_it_says(
    taken: list[tuple[float, float, HostName, str]], eager: bool
) -> None:
    moved = moves_of(taken, eager=eager)
    for first, began in enumerate(moved):
        for last, ended in enumerate(moved[first:], first):
            assert last - first + 1 <= AT_ONCE + 3 + (ended - began + ROUNDING_S) / 3600
        assert sum(began <= at < began + 3600 for at in moved) <= 5


@given(taken=breaks)
def test_no_wait_is_longer_than_an_hour_after_the_last_move_or_failure(
    taken: list[tuple[float, float, HostName, str]],
) -> None:
    tour, now, moved_at = Tour(), 0.0, 0.0
    for active_s, _, host, reason in taken:
        tour.is_active(now)
        now += active_s
        tour.failed(host, reason, now)
        if (damping := tour.damping(now)) is None:
            moved_at = now
            tour.moved(now)
        else:
            assert damping.until <= max(moved_at + MOST_S, now + PAUSE_S)


@given(host=st.sampled_from(HOSTS), reason=st.sampled_from(REASONS), at=st.floats(0, 1e6))
def test_a_router_that_broke_once_is_moved_at_once(host: HostName, reason: str, at: float) -> None:
    assert moves_of([(at, 0.0, host, reason)], eager=False) == [at]

"""A quiet machine is waited for before something is measured: not for ever, nor where it has other work."""

import pytest

import one_host
from one_host import BUSY, QUIET_FOR_S, QUIET_WITHIN_S, quiet

IDLE, BUSY_ONCE, ALWAYS_BUSY = (0.0,), (1.0, 0.0), (1.0,) * 100


@pytest.mark.parametrize(
    ("shares", "busy", "waited_s"),
    [
        (IDLE, "", QUIET_FOR_S),
        (BUSY_ONCE, "", 2 * QUIET_FOR_S),
        (ALWAYS_BUSY, "", QUIET_WITHIN_S),
        (ALWAYS_BUSY, "1", QUIET_FOR_S),
    ],
)
async def test_it_is_looked_again_until_it_is_quiet(
    shares: tuple[float, ...], busy: str, waited_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`shares`: of a core, used by others at each look."""
    now, used = 0.0, 0.0
    each = iter(shares)

    async def sleep(s: float) -> None:
        nonlocal now, used
        now += s
        used += next(each) * s

    monkeypatch.setenv(BUSY, busy)
    monkeypatch.setattr(one_host.asyncio, "sleep", sleep)
    monkeypatch.setattr(one_host.time, "monotonic", lambda: now)
    monkeypatch.setattr(one_host, "_busy_s", lambda: used)
    await quiet()
    assert now == waited_s

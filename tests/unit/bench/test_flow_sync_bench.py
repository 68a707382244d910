"""Copies of connections, measured: what is the same on both hosts, and what the table says."""

from dataclasses import replace

from flow_sync import Busy, Quiet, as_kept, table
from gapless.flows.entries import entry_of
from made_flows import FIN_WAIT, established, parts, state

RIGHT = Busy(
    asked=20_000,
    made=19_998,
    source_us=9.04,
    sink_us=17.5,
    lag_ms=15,
    lag_ms_max=102,
    overruns=0,
    not_made=0,
    missing=0,
    left_over=0,
)


def told(number: int, *, timeout_s: int = 432_000) -> bytes:
    """As a kernel tells of a flow: the reply as it comes, translated."""
    asked = established(number)
    _, _, gateway, port = parts(number)
    reply = asked[72:124]
    said = asked[:72] + reply[:20] + gateway + reply[24:48] + reply[48:50] + port + asked[124:]
    return said.replace((432_000).to_bytes(4, "big"), timeout_s.to_bytes(4, "big"))


def kept(message: bytes) -> tuple[bytes, ...]:
    entry = entry_of(message)
    assert entry is not None
    return as_kept(entry)


def test_a_flow_is_the_same_however_long_its_kernel_keeps_it() -> None:
    assert kept(told(7)) == kept(told(7, timeout_s=431_900))
    assert kept(told(7)) != kept(told(8))
    assert kept(told(7)) != kept(told(7).replace(state(3)[16:], state(FIN_WAIT)[16:]))


def test_a_follower_that_lacks_one_or_has_one_too_many_is_not_right() -> None:
    assert RIGHT.is_right
    assert not any(replace(RIGHT, **{name: 1}).is_right for name in ("not_made", "missing", "left_over"))


def test_each_rate_is_a_line() -> None:
    said = table([RIGHT, replace(RIGHT, asked=30_000, overruns=2, missing=1_200, not_made=3)], None)
    assert "| 20,000 | 19,998 | 9.0 | 17.5 | 15 | 102 | 0 | 0 | 0 |" in said
    assert "| 30,000 | 19,998 | 9.0 | 17.5 | 15 | 102 | 2 | 1,200 | 0 |" in said
    assert "At 30,000 a second 3 flows were not made." in said
    assert "Gapless at " in said


def test_quiet_routers_are_a_table_of_their_own() -> None:
    said = table([], Quiet(routers=1000, source_ms=3.5, sink_ms=4.2))
    assert "| 1,000 | 3.5 | 4.2 |" in said
    assert "flows/s" not in said

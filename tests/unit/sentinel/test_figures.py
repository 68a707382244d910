"""A host's figures: nothing that was counted is lost with a beat, and Prometheus's own parser reads the page."""

from collections.abc import Callable
from dataclasses import fields, replace

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from gapless.core.edge.beatevents import Counters
from gapless.errors import Unavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Takeover, TakeoverTimes
from gapless.model.router import RouterId
from gapless.sentinel.figures import BeatFigures, HostFigures, Page
from gapless.sentinel.levels import Done, Levels
from gapless.wire.beat import LATE_BOUNDS_S, Rhythm, TookOver
from gapless.wire.flowlink import FlowFigures

DEAD = Tenure(HostName("net9"), Incarnation(4))


def late(*counts: int) -> tuple[int, ...]:
    return (*counts, *[0] * (len(LATE_BOUNDS_S) + 1 - len(counts)))


def a_takeover(number: int, *names: str) -> TookOver:
    times = TakeoverTimes(buried_ms=1, opened_ms=2, told_ms=3)
    return TookOver(
        number=number,
        at=0.0,
        takeovers=tuple(Takeover(router_id=RouterId(name), epoch=Epoch(2), of=DEAD, times=times) for name in names),
    )


def levels_after(said: TookOver) -> dict[RouterId, Done]:
    return {each.router_id: Done(number=said.number, takeover=each, told_at=0.0) for each in said.takeovers}


def a_host(beat: BeatFigures | None, levels: Levels | None = None) -> HostFigures:
    return HostFigures(
        beat=beat,
        levels=levels or Levels(),
        lease_s=0.2,
        routers=7,
        built=5,
        failed=1,
        agent_restarts=2,
        agent_is_running=False,
        link_is_up=True,
    )


def read(figures: HostFigures, muted_frames: Callable[[], int] = lambda: 12) -> dict[str, float]:
    page = Page(lambda: figures, muted_frames)
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.text(page.figures()).decode())
        for sample in family.samples
    }


def test_what_another_host_released_is_no_takeover() -> None:
    """No host died, so nobody is to be woken."""
    beat = BeatFigures()
    said = a_takeover(1, "a", "b")
    moved = msgspec.structs.replace(said, takeovers=tuple(replace(each, is_released=True) for each in said.takeovers))
    beat.took_over(moved, {})
    assert beat.taken_over == 0


def test_what_a_beat_counted_outlives_it() -> None:
    beat = BeatFigures()
    beat.begins(Incarnation(4))
    beat.rhythm(Rhythm(beats=20, latest_ms=3, late=late(18, 2), late_s=0.1, dropped={"forged": 1}))
    counts = {"late_grants": 1, "granted": 100}
    beat.rhythm(Rhythm(beats=20, latest_ms=1, late=late(37, 3), late_s=0.2, dropped={"forged": 2}, counts=counts))
    beat.begins(Incarnation(5))
    assert beat.late == (late(37, 3), 0.2), "nothing was said by the second one yet"
    assert beat.dropped["forged"] == 2
    counts = {"late_grants": 2, "granted": 50}
    beat.rhythm(Rhythm(beats=20, latest_ms=2, late=late(10), late_s=0.1, dropped={"replayed": 7}, counts=counts))
    shown = read(a_host(beat))
    assert shown["gapless_beat_late_seconds_bucket{0.0005}"] == 47
    assert shown["gapless_beat_late_seconds_bucket{0.001}"] == shown["gapless_beat_late_seconds_count"] == 50
    assert round(shown["gapless_beat_late_seconds_sum"], 9) == 0.3
    assert shown["gapless_beat_latest_seconds"] == 0.003
    assert shown["gapless_beat_restarts_total"] == 1
    assert shown["gapless_incarnation"] == 5
    assert shown["gapless_datagrams_dropped_total{forged}"] == 2
    assert shown["gapless_datagrams_dropped_total{replayed}"] == 7
    assert shown["gapless_datagrams_dropped_total{late grant}"] == 3
    assert shown["gapless_grants_total"] == 150


def test_all_that_the_core_counts_is_shown_also_while_it_is_nothing() -> None:
    """Prometheus sees no increase of what was not there before."""
    names = [each.name for each in fields(Counters)]
    nothing = read(a_host(BeatFigures()))
    beat = BeatFigures()
    beat.rhythm(Rhythm(beats=1, latest_ms=0, counts={name: number for number, name in enumerate(names, 1001)}))
    shown = read(a_host(beat))
    grown = {name: value for name, value in shown.items() if value != nothing[name]}
    assert sorted(grown.values()) == [1001 + number for number in range(len(names))]
    assert {name.partition("{")[0] for name in grown} == {
        "gapless_datagrams_dropped_total",
        "gapless_arbiter_refusals_total",
        "gapless_renewals_total",
        "gapless_grants_total",
        "gapless_plans_ignored_total",
        "gapless_plan_routers_outdated_total",
    }


def test_flows_are_shown_where_they_are_copied() -> None:
    assert not any(name.startswith("gapless_flow") for name in read(a_host(None)))
    flows = FlowFigures(
        heard=1, applied=2, refused=3, overruns=4, copies=5, streams=6, lag_ms=7, turned_away=8, left_out=9, unread=10
    )
    shown = read(replace(a_host(None), flows=flows))
    assert {name.removeprefix("gapless_flow_"): value for name, value in shown.items() if "_flow_" in name} == {
        "events_total": 1,
        "entries_applied_total": 2,
        "entries_refused_total": 3,
        "entries_unread_total": 10,
        "overruns_total": 4,
        "copies_total": 5,
        "turned_away_total": 8,
        "left_out_total": 9,
        "streams": 6,
        "lag_seconds": 0.007,
    }


def test_a_router_is_counted_once_for_each_takeover_however_often_it_is_told() -> None:
    beat = BeatFigures()
    first, again = a_takeover(1, "a", "b"), a_takeover(2, "a")
    beat.took_over(first, {})
    beat.took_over(first, levels_after(first))
    assert beat.taken_over == 2
    beat.took_over(again, levels_after(first))
    assert read(a_host(beat))["gapless_routers_taken_over_total"] == 3


def test_levels_as_they_are() -> None:
    levels = Levels(tenure=Incarnation(4), open={RouterId("a"): Epoch(1)}, trouble="no carrier on eth2")
    shown = read(a_host(BeatFigures(fenced=1), levels))
    assert (shown["gapless_lease_held"], shown["gapless_lease_seconds"], shown["gapless_fenced_total"]) == (1, 0.2, 1)
    assert (shown["gapless_routers_open"], shown["gapless_routers_planned"]) == (1, 7)
    assert (shown["gapless_routers_built"], shown["gapless_routers_failed"]) == (5, 1)
    assert (shown["gapless_uplink_lost"], shown["gapless_guard_muted_frames_total"]) == (1, 12)
    assert (shown["gapless_agent_restarts_total"], shown["gapless_agent_running"]) == (2, 0)
    assert shown["gapless_control_link_up"] == 1
    assert read(a_host(BeatFigures()))["gapless_lease_held"] == 0


def test_a_host_without_a_lease_says_nothing_of_one_and_a_kernel_that_does_not_answer_costs_one_figure() -> None:
    def unanswered() -> int:
        raise Unavailable("list nftables rules: Operation not permitted")

    assert not [name for name in read(a_host(None), unanswered) if "lease" in name or "beat" in name]
    shown = read(a_host(BeatFigures()), unanswered)
    assert "gapless_lease_held" in shown
    assert "gapless_guard_muted_frames_total" not in shown

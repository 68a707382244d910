"""A host's figures for Prometheus: what its beats counted, over all beats of this process, and what its levels are.

The rule: a beat counts from its own start, and its word may be missing for a second. So what is kept is the last word
of the present beat, and the sum of what those before it said last. No count falls while this process lives.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gapless.errors import GaplessError
from gapless.model.host import Incarnation
from gapless.model.lease import NOBODY
from gapless.model.router import RouterId
from gapless.sentinel.levels import Done, Levels
from gapless.wire.beat import LATE_BOUNDS_S, Rhythm, TookOver
from gapless.wire.flowlink import FlowFigures
from gapless.wire.lease import Fault

CONTENT_TYPE = CONTENT_TYPE_LATEST
UNOPENED = (*(fault.value for fault in Fault), "no address")
"""Why a datagram was not opened, or not sent."""
DROPPED = {
    "late_grants": "late grant",
    "late_answers": "late answer",
    "old_senders": "old renewal",
    "quiet_drops": "quiet",
    "namesakes": "namesake",
    "useless_hints": "useless hint",
    "strangers": "stranger",
    "untimed": "untimed",
    "other_timings": "other timing",
    "useless_releases": "useless release",
}
"""What the core counted (`core.edge.beatevents.Counters`) and led to nothing: the reason of each."""
REFUSED = {"stale_panels": "stale", "refusals": "refuse", "denials": "alive"}
"""Of the same: what this host answered as an arbiter, if not what was asked for."""
COUNTED = {
    "asked": ("gapless_renewals", "Renewals of the lease that were asked for, one for each arbiter."),
    "granted": ("gapless_grants", "Renewals that an arbiter granted in time."),
    "other_plans": ("gapless_plans_ignored", "Plans for another incarnation than the one that holds the lease."),
    "older_epochs": ("gapless_plan_routers_outdated", "Routers of a plan at a lower epoch than they are active at."),
}
"""Of the same: each with a figure of its own, and what that is."""
_NOTHING = (0,) * (len(LATE_BOUNDS_S) + 1)


@dataclass(slots=True)
class BeatFigures:
    """What the beats of this process counted."""

    incarnation: Incarnation = NOBODY
    """The newest that was stored for a beat."""
    beats: int = 0
    """How many were started."""
    fenced: int = 0
    """How often a lease that was held was lost, by whatever way."""
    taken_over: int = 0
    """Routers."""
    latest_s: float = 0.0
    """The most that a beat was late."""
    _before: Rhythm = field(default_factory=lambda: Rhythm(beats=0, latest_ms=0.0, late=_NOTHING))
    """The sum of what the beats before the present one said last."""
    _last: Rhythm = field(default_factory=lambda: Rhythm(beats=0, latest_ms=0.0, late=_NOTHING))

    def begins(self, incarnation: Incarnation) -> None:
        """Another beat begins, and counts from nothing."""
        self.incarnation = incarnation
        self.beats += 1
        self._before = self._sum()
        self._last = Rhythm(beats=0, latest_ms=0.0, late=_NOTHING)

    def rhythm(self, said: Rhythm) -> None:
        """The beat's last word on how it keeps time."""
        self._last = said
        self.latest_s = max(self.latest_s, said.latest_ms / 1000)

    def took_over(self, said: TookOver, known: Mapping[RouterId, Done]) -> None:
        """Routers were taken over, or announced after that, which is told once more. What was released was not."""
        self.taken_over += sum(
            each.router_id not in known or known[each.router_id].number != said.number
            for each in said.takeovers
            if not each.is_released
        )

    @property
    def dropped(self) -> Mapping[str, int]:
        """Lease datagrams that led to nothing, by reason."""
        total = self._sum()
        return {**dict.fromkeys(UNOPENED, 0), **total.dropped, **_named(total.counts, DROPPED)}

    @property
    def counts(self) -> Mapping[str, int]:
        """What the core counted, by name."""
        return self._sum().counts

    @property
    def late(self) -> tuple[tuple[int, ...], float]:
        """Beats in each bucket of `LATE_BOUNDS_S`, and how late all were together."""
        total = self._sum()
        return total.late, total.late_s

    def _sum(self) -> Rhythm:
        before, last = self._before, self._last
        return Rhythm(
            beats=0,
            latest_ms=0.0,
            late=tuple(one + other for one, other in zip(before.late, last.late or _NOTHING, strict=True)),
            late_s=before.late_s + last.late_s,
            dropped=dict(Counter(before.dropped) + Counter(last.dropped)),
            counts=dict(Counter(before.counts) + Counter(last.counts)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFigures:
    """A host at one moment."""

    beat: BeatFigures | None
    """None where it takes no part in leases; then `levels` and `lease_s` say nothing."""
    levels: Levels
    lease_s: float
    routers: int
    """In its plan; of these the agent said last:"""
    built: int
    failed: int
    agent_restarts: int
    agent_is_running: bool
    link_is_up: bool
    flows: FlowFigures | None = None
    """None: connections are not copied here."""


class Page:
    """What is served. `look` is cheap and called by the loop; `muted_frames` asks the kernel, which takes a moment."""

    def __init__(self, look: Callable[[], HostFigures], muted_frames: Callable[[], int]) -> None:
        self._look = look
        self._muted_frames = muted_frames

    def figures(self) -> HostFigures:
        """Of now."""
        return self._look()

    def text(self, figures: HostFigures) -> bytes:
        """These, for Prometheus; blocks for the kernel's answer."""
        registry = CollectorRegistry()
        registry.register(_Given([*_of_host(figures), *_of_flows(figures), *self._of_leases(figures)]))
        return generate_latest(registry)

    def _of_leases(self, figures: HostFigures) -> Iterator[Metric]:
        if figures.beat is None:
            return
        yield from _of_levels(figures, figures.beat)
        yield from _of_beat(figures.beat)
        with suppress(GaplessError):  # No guard yet: nothing is muted, and nothing to say.
            yield _counter(
                "gapless_guard_muted_frames", "Frames that the guard dropped since it was made.", self._muted_frames()
            )


class _Given:
    """A collector of what is there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """For the registry."""
        return self._metrics


def _of_host(figures: HostFigures) -> Iterator[Metric]:
    yield _gauge("gapless_control_link_up", "1 while the controller is connected.", figures.link_is_up)
    yield _gauge("gapless_agent_running", "1 while the agent works.", figures.agent_is_running)
    yield _counter(
        "gapless_agent_restarts", "Agents that ended and were followed by another one.", figures.agent_restarts
    )
    yield _gauge("gapless_routers_planned", "Routers in this host's plan, standbys included.", figures.routers)
    yield _gauge("gapless_routers_built", "Those of them that are built and right.", figures.built)
    yield _gauge("gapless_routers_failed", "Those of them that could not be built or kept right.", figures.failed)


def _of_flows(figures: HostFigures) -> Iterator[Metric]:
    if (flows := figures.flows) is None:
        return
    yield _gauge("gapless_flow_streams", "Flow streams to and from other hosts.", flows.streams)
    yield _gauge("gapless_flow_lag_seconds", "The most that a follower was behind, last second.", flows.lag_ms / 1000)
    yield _counter("gapless_flow_events", "Events of the kernel about flows that were taken in.", flows.heard)
    yield _counter("gapless_flow_entries_applied", "Flows that were made, renewed or removed here.", flows.applied)
    yield _counter("gapless_flow_entries_refused", "Flows that this kernel did not take.", flows.refused)
    yield _counter("gapless_flow_entries_unread", "Flows that were told of in a way not known here.", flows.unread)
    yield _counter("gapless_flow_left_out", "Times that a flow was not told: its router has the most.", flows.left_out)
    yield _counter("gapless_flow_overruns", "Routers whose flows had to be copied anew.", flows.overruns)
    yield _counter("gapless_flow_copies", "Whole copies of a router's flows that were told.", flows.copies)
    yield _counter("gapless_flow_turned_away", "Connections for flows that were turned away.", flows.turned_away)


def _of_levels(figures: HostFigures, beat: BeatFigures) -> Iterator[Metric]:
    levels = figures.levels
    yield _gauge(
        "gapless_lease_held", "1 while this host holds its lease; 0: fenced, or none yet.", bool(levels.tenure)
    )
    yield _gauge("gapless_lease_seconds", "How long a lease lasts that is not renewed.", figures.lease_s)
    yield _gauge("gapless_incarnation", "The newest incarnation of this host.", beat.incarnation)
    yield _counter("gapless_fenced", "Leases that were held, and lost.", beat.fenced)
    yield _gauge("gapless_routers_open", "Guarded routers whose frames the guard lets pass.", len(levels.open))
    yield _counter("gapless_routers_taken_over", "Routers that this host took over.", beat.taken_over)
    yield _gauge("gapless_uplink_lost", "1 while an uplink or its gateway is lost.", bool(levels.trouble))


def _of_beat(beat: BeatFigures) -> Iterator[Metric]:
    counts, sum_s = beat.late
    bounds = [*(f"{bound:g}" for bound in LATE_BOUNDS_S), "+Inf"]
    yield HistogramMetricFamily(
        "gapless_beat_late_seconds",
        "How late the beat met its deadlines.",
        buckets=list(zip(bounds, accumulate(counts), strict=True)),
        sum_value=sum_s,
    )
    yield _gauge("gapless_beat_latest_seconds", "The most that it was late since the sentinel's start.", beat.latest_s)
    yield _counter("gapless_beat_restarts", "Beats that followed another one.", max(0, beat.beats - 1))
    counted = beat.counts
    yield _by("reason", "gapless_datagrams_dropped", "Lease datagrams that led to nothing.", beat.dropped)
    refused = _named(counted, REFUSED)
    yield _by("answer", "gapless_arbiter_refusals", "Questions to this host as an arbiter that were refused.", refused)
    for name, (figure, what) in COUNTED.items():
        yield _counter(figure, what, counted.get(name, 0))


def _named(counts: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    """Those that have a name here, by that; 0 where none was counted yet."""
    return {said: counts.get(name, 0) for name, said in names.items()}


def _by(label: str, name: str, help_text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)

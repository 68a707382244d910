"""What the controller counts, in Prometheus's text format. Each controller has a registry of its own.

Names end in their unit. Gauges of placement are set from the planner's views when somebody looks; counters and
histograms are fed as things happen. `/metrics` serves `Metrics.page()` as `CONTENT_TYPE`.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from gapless.model.plan import MoveKind, MoveStep

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SILENCE_BUCKETS_S = (0.5, 1, 2, 5, 10, 20, 40, 80, 150, 155, 160, 180, 300, 600, 1800)
"""Fine around Neutron's default of 150 s."""
_STEP_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Every metric of a controller."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.hosts = Gauge("gapless_hosts", "Hosts by standing.", ["standing"], registry=registry)
        self.agentless = Gauge(
            "gapless_hosts_without_agent", "Hosts that are heard and whose agents do not work.", registry=registry
        )
        self.without_a_way_out = Gauge(
            "gapless_hosts_without_way_out", "Hosts that say that they have lost a way out.", registry=registry
        )
        self.routers = Gauge("gapless_routers", "Routers by state.", ["state"], registry=registry)
        self.health = Gauge(
            "gapless_routers_health",
            "Routers by how their hosts found them last: healthy, degraded, broken; unknown: nobody says.",
            ["health"],
            registry=registry,
        )
        self.damped = Gauge(
            "gapless_routers_damped",
            "Routers that their hosts cannot run and that are not moved, by why: reason, moves, cause.",
            ["why"],
            registry=registry,
        )
        self.brake_engaged = Gauge(
            "gapless_brake_engaged", "1 while the brake holds back moves away from silent hosts.", registry=registry
        )
        self.arbiters = Gauge("gapless_arbiters", "Arbiters that are heard, or not.", ["heard"], registry=registry)
        self.arbiters_lost = Gauge(
            "gapless_arbiters_lost",
            "1 while no majority of the arbiters is heard, nor any host that holds a lease: guarded routers are dark.",
            registry=registry,
        )
        self.links = Gauge("gapless_control_links", "Hosts connected now.", registry=registry)
        self.moves = Counter(
            "gapless_moves",
            "Moves of routers by kind, and by how they ended: confirmed, failed, superseded; begun counts them all.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.detection = Histogram(
            "gapless_detection_seconds",
            "Silence of a host when its routers' moves were decided.",
            buckets=_SILENCE_BUCKETS_S,
            registry=registry,
        )
        self.decide = Histogram(
            "gapless_decide_seconds",
            "From the receipt of an event, or a deadline, to the planner's answer.",
            buckets=_STEP_BUCKETS_S,
            registry=registry,
        )
        self.build = Histogram(
            "gapless_build_seconds",
            "From the sending of a plan to the router built on its new host.",
            buckets=_STEP_BUCKETS_S,
            registry=registry,
        )
        self.refusals = Counter(
            "gapless_control_link_refusals", "Hosts and strangers turned away, by code.", ["code"], registry=registry
        )
        self.closed_links = Counter(
            "gapless_control_link_closed",
            "Control links closed by the controller, by cause.",
            ["cause"],
            registry=registry,
        )
        self.store_failures = Counter(
            "gapless_store_failures", "Store operations of the planner's shell that failed.", ["job"], registry=registry
        )
        self.pauses = Counter(
            "gapless_controller_pauses",
            "Times the controller did nothing for so long that hosts' silence was not counted.",
            registry=registry,
        )
        self.paused_s = Counter(
            "gapless_controller_pause_seconds", "How long these pauses lasted, all together.", registry=registry
        )
        self.loop_lag = Gauge(
            "gapless_planner_loop_lag_seconds",
            "How late the planner's last deadline was handled.",
            registry=registry,
        )

        self._refresh: list[Callable[[], None]] = []

    def before_page(self, refresh: Callable[[], None]) -> None:
        """Have `refresh` called whenever somebody looks, to set gauges that are views of something."""
        self._refresh.append(refresh)

    def show_placement(self, standings: Iterable[str], states: Iterable[str], *, braked: bool) -> None:
        """Set the gauges of placement from the planner's views."""
        _set_all(self.hosts, standings)
        _set_all(self.routers, states)
        self.brake_engaged.set(braked)

    def show_health(self, healths: Iterable[str]) -> None:
        """Set the gauge of how routers are."""
        _set_all(self.health, healths)

    def show_damping(self, whys: Iterable[str]) -> None:
        """Set the gauge of routers that stay though their hosts cannot run them."""
        _set_all(self.damped, whys)

    def show_agents(self, agentless: int) -> None:
        """Set the gauge of hosts whose agents do not work."""
        self.agentless.set(agentless)

    def show_ways_out(self, without: int) -> None:
        """Set the gauge of hosts that have lost a way out."""
        self.without_a_way_out.set(without)

    def show_arbiters(self, heard: Iterable[bool], *, is_lost: bool) -> None:
        """Set the gauges of the panel from the planner's view."""
        _set_all(self.arbiters, ("yes" if each else "no" for each in heard))
        self.arbiters_lost.set(is_lost)

    def move_begun(self, kind: MoveKind, silent_s: float | None) -> None:
        """A move was decided; `silent_s` as in the effect that says so."""
        self.moves.labels(kind=kind.value, outcome="begun").inc()
        if silent_s is not None:
            self.detection.observe(silent_s)

    def move_ended(self, kind: MoveKind, outcome: MoveStep) -> None:
        """A move was confirmed, has failed or was superseded."""
        self.moves.labels(kind=kind.value, outcome=outcome.value).inc()

    def page(self) -> bytes:
        """Everything, as text for Prometheus."""
        for refresh in self._refresh:
            refresh()
        return generate_latest(self.registry)


def _set_all(gauge: Gauge, labels: Iterable[str]) -> None:
    """Count `labels` into `gauge`; a label that nobody carries any more disappears."""
    gauge.clear()
    for label, count in Tally(labels).items():
        gauge.labels(label).set(count)

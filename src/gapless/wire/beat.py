"""Messages between a sentinel and its beat, one a packet (`wire.packets`).

        -> Begin            who this host is, the cluster's key, where to listen, the timing
        <- Ready            the guard is in the kernel, with nothing active
        -> PlanPart ...     the plan, in parts of a few dozen routers; the one that is `last` puts it into force
        <- Opened, Passing, Closed   what the guard lets pass, as it changes
        <- Level            lease, panel and plan, as they change
        <- IncarnationNeeded    this tenure is over  -> Incarnation   a higher one is on the disk
        -> Outlived         other machines had this host's name, at incarnations up to this one
        <- TookOver, BurialAnswer, Said, Rhythm

Everything about 1,000 routers travels in parts: the beat must never be held up by decoding a large message.
"""

from ipaddress import IPv4Address

import msgspec

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch, Forwarding, Guarded, PanelPlan, Takeover
from gapless.model.router import RouterId
from gapless.model.way import WaysSaid
from gapless.wire.messages import Decoder

LATE_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
"""Bounds of the histogram of lateness: an interval of either timing and a lease of either are among them."""


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin"):
    """The first message. `key`: the cluster's, in hex; `address`: where lease datagrams arrive, "ADDRESS:PORT"."""

    key: str
    cluster: str
    zone: str
    name: HostName
    incarnation: Incarnation
    address: str
    interval_s: float
    lease_s: float
    panel: PanelPlan | None = None
    """As kept on the disk."""
    uplinks: tuple[str, ...] = ()
    """Interfaces of the physical networks."""
    networks: tuple[str, ...] = ()
    """Those networks, in the same order: interfaces have other names on other hosts."""
    guard: int | None = None
    """The descriptor of the guard's socket, inherited from the sentinel, which keeps it; None: the beat makes one."""


class BeatPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a guarded router, as it is announced."""

    link: str
    """Its interface inside the router's namespace."""
    mac: str
    addresses: tuple[IPv4Address, ...]
    bridge: str
    way_out: str
    """The interface that leads away from this host: an uplink, a VXLAN device, or the operator's bridge."""


class BeatRouter(msgspec.Struct, frozen=True, kw_only=True):
    """A guarded router of this host's plan."""

    router_id: RouterId
    epoch: Epoch
    guarded: Guarded
    taps: tuple[str, ...]
    """What the guard opens."""
    ports: tuple[BeatPort, ...]
    gateway: tuple[str, IPv4Address] | None = None
    """The uplink and the next hop of its default route."""


class PlanPart(msgspec.Struct, frozen=True, kw_only=True, tag="plan"):
    """Routers to change and to drop since the part before; `whole`: and forget all that was there before this part.

    `heard`: how many takeovers of this incarnation (`TookOver.number`) the plan takes into account.
    """

    revision: int
    incarnation: Incarnation
    heard: int
    last: bool
    whole: bool = False
    panel: PanelPlan | None = None
    routers: tuple[BeatRouter, ...] = ()
    removed: tuple[RouterId, ...] = ()


class Built(msgspec.Struct, frozen=True, kw_only=True, tag="built"):
    """The agent has built these (anew), so their interfaces are there. `given_more`: those of them of which interfaces
    or addresses are new.
    """

    routers: tuple[RouterId, ...]
    given_more: tuple[RouterId, ...] = ()


class NewIncarnation(msgspec.Struct, frozen=True, kw_only=True, tag="incarnation"):
    """A higher incarnation is on the disk, and was never used."""

    incarnation: Incarnation


class Outlived(msgspec.Struct, frozen=True, kw_only=True, tag="outlived"):
    """Incarnations up to this one belong to other machines that had this host's name: it has to be at a higher one."""

    up_to: Incarnation


class BurialQuestion(msgspec.Struct, frozen=True, kw_only=True, tag="bury"):
    """The controller claims a tenure; `panel` is the version that it counts by."""

    tenure: Tenure
    seq: int
    panel: PanelVersion


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The guard is in the kernel, with nothing active. `terms`: the priority that this process has, in words."""

    terms: str


class Unable(msgspec.Struct, frozen=True, kw_only=True, tag="unable"):
    """Its last word: it cannot do its work on this host, and why."""

    reason: str


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """The guard lets these pass while the lease lasts."""

    routers: tuple[Forwarding, ...]


class Passing(msgspec.Struct, frozen=True, kw_only=True, tag="passing"):
    """Of routers that were opened because the plan says so: the kernel's active set has them by now."""

    routers: tuple[RouterId, ...]


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag="closed"):
    """The guard lets these pass no more."""

    routers: tuple[RouterId, ...]


class Level(msgspec.Struct, frozen=True, kw_only=True, tag="level"):
    """How things are, after all that was said before."""

    tenure: Incarnation
    """At which this host has held its lease; 0: none yet, or fenced."""
    settled: int
    """The last plan (`PlanPart.revision`) of which all that it takes away is closed; 0: none."""
    panel: Panel | None
    """The one that is followed."""
    takeovers: int = 0
    """Takeovers of this tenure up to this number (`TookOver.number`) were told of whole."""
    trouble: str = ""
    """What of this host's uplinks is lost."""
    is_taking_over: bool = False
    """From the claim until what was taken over is announced; at most a few seconds."""
    reborn: Incarnation = Incarnation(0)
    """Every lower incarnation of this machine is over, and nothing of it is open; 0: not known yet."""
    ways: WaysSaid | None = None
    """The same as `trouble`, for the controller's planner; None: it has not looked yet."""
    is_unguarded: bool = False
    """The guard was removed, and could not be put back for an interval: what it held back passes."""
    expired: tuple[Tenure, ...] = ()
    """What this host, as an arbiter, granted last to hosts that were granted nothing since."""


class IncarnationNeeded(msgspec.Struct, frozen=True, kw_only=True, tag="incarnation-needed"):
    """The tenure up to `after` is over: store a higher incarnation."""

    after: Incarnation


class TookOver(msgspec.Struct, frozen=True, kw_only=True, tag="took-over"):
    """Routers that became active here by right; in parts, all with one `number`, until a `Level` says so. Told once
    more when announced. `at`: the moment that `told_ms` is of, monotonic seconds.
    """

    number: int
    at: float
    takeovers: tuple[Takeover, ...]


class BurialAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="buried"):
    """To a BurialQuestion: whether it is buried here."""

    tenure: Tenure
    seq: int
    is_buried: bool


class Said(msgspec.Struct, frozen=True, kw_only=True, tag="said"):
    """A line for the log, which the beat itself never writes: a log that is not read must not hold it up."""

    level: str
    event: str
    details: dict[str, str] = {}


class Rhythm(msgspec.Struct, frozen=True, kw_only=True, tag="rhythm"):
    """How the beat kept time since the last one of these, about once a second. One of these may be dropped, so what is
    counted for others to read is counted since the beat's start.
    """

    beats: int
    latest_ms: float
    """How much the latest beat was late."""
    late: tuple[int, ...] = ()
    """Of all beats since the start: how many were late by at most each of `LATE_BOUNDS_S`, and later than the one
    before; and later than all of them.
    """
    late_s: float = 0.0
    """How much all of these were late together."""
    dropped: dict[str, int] = {}
    """Datagrams that could not be opened or sent since the start, by reason."""
    counts: dict[str, int] = {}
    """What the core counted since the start, by name (`core.edge.beatevents.Counters`)."""


ToBeat = Begin | PlanPart | Built | NewIncarnation | Outlived | BurialQuestion
FromBeat = (
    Ready | Unable | Opened | Passing | Closed | Level | IncarnationNeeded | TookOver | BurialAnswer | Said | Rhythm
)

to_beat: Decoder[ToBeat] = Decoder(ToBeat)
from_beat: Decoder[FromBeat] = Decoder(FromBeat)

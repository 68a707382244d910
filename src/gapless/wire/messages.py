"""Messages of the control link (controller to sentinel) and of the local link (sentinel to agent), as JSON.

A session of the control link, host on the left:

        <- Challenge        the server's nonce
        -> Hello            who I am; my nonce; HMAC over both nonces and all I say   (or Declined, and the link closes)
        <- Welcome          the server's HMAC over the same: it has the key too   (or Refused, and the link closes)
        <- Snapshot         the whole plan at revision r
        -> Report(full)     every router of the plan; then one each report interval, and at once on a change
        <- Change           revision r+1, r+2, ...; a host that misses one closes the link and starts again
        <- Bury             the controller claims a tenure at this arbiter, which answers in its next report

JSON, because people read these at 3 a.m. in a capture; a plan of 1,000 routers is 2 MB once per connection.
"""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Generic, TypeVar

import msgspec

from gapless.model.host import AgentState, HostFacts, Incarnation
from gapless.model.lease import PanelVersion, Tenure
from gapless.model.plan import Burial, Forwarding, PanelPlan, PlannedRouter, Revision, RouterReport, Takeover
from gapless.model.router import RouterId
from gapless.model.way import WaysSaid

PROTOCOL = 6
"""Grows by one with every change that an older peer would misread, and with each of `HostFacts`: the proof of the key
is over these, as each end encodes them."""
MALFORMED_CHARS_MAX = 200

Message = TypeVar("Message")


class Challenge(msgspec.Struct, frozen=True, kw_only=True, tag="challenge"):
    """The server's first word. `nonce`: 32 random bytes in hex; `cluster`: the cluster's id, for clear refusals."""

    protocol: int
    cluster: str
    nonce: str


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """A host's first word. `proof`: see `wire.proof`."""

    protocol: int
    facts: HostFacts
    incarnation: Incarnation
    nonce: str
    proof: str


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag="declined"):
    """Instead of a Hello: this host belongs to another cluster than the challenge names. Proves nothing, and is for the
    controller's log: with its database lost it is a new cluster, and only its hosts know that there was another.
    """

    name: str
    cluster: str


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """The host may stay. It reports each `report_interval_s` seconds, and at once when something changed.

    `outlived`: incarnations up to this one belong to other machines that had this host's name, or are over by an
    operator's word that this machine was off; it asks for a lease at a higher one only.
    """

    cluster: str
    proof: str
    report_interval_s: float
    outlived: Incarnation = Incarnation(0)


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The link closes. `reason` says what a person has to change; the host retries, slowly, and touches nothing."""

    code: str
    reason: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """The whole plan of a host: what is not in it must not run there.

    `heard`: how many reports of this session the plan takes into account. A takeover that was reported later, or not
    yet, is not undone by it. `panel` None: there are no arbiters yet.
    """

    revision: Revision
    routers: tuple[PlannedRouter, ...]
    heard: int = 0
    panel: PanelPlan | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, tag="change"):
    """What changed since revision - 1: routers to run as given here, routers to remove.

    `heard` as in a snapshot; `panel` None: as before.
    """

    revision: Revision
    routers: tuple[PlannedRouter, ...] = ()
    removed: tuple[RouterId, ...] = ()
    heard: int = 0
    panel: PanelPlan | None = None


class Bury(msgspec.Struct, frozen=True, kw_only=True, tag="bury"):
    """The controller claims a tenure, as a successor does; an arbiter answers in a report at once (`Report.buried`).

    It says nothing in its quiet time, or when `panel`, which the controller counts by, is below its floor.
    """

    tenure: Tenure
    seq: int
    panel: PanelVersion


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """What a host says, each report interval and at once on a change. `routers`: all of them when `full`.

    `revision` is that of the plan which the agent worked from when it last spoke, not the newest one received (0: none
    of this session). So a full report without a router proves that it is gone only if that plan was without it too.

    The rest is the guard's. `leased`: the newest incarnation at which this host held its lease (0: none since its
    start); guarded routers are planned for that one only. `guard_revision` is that of the plan which the sentinel's
    guard worked from (0: none of this session), panel and floor included. `forwarding`: every guarded router that is
    open here; None: as in the report before; never None in the first report of a session. `takeovers`: those that no
    plan of this session has answered yet. Reports of a session count from 1; a plan says by `heard` which it knows.
    `uplink_trouble`: what of its uplinks this host has lost, in words. `is_held`: this host holds its lease now.
    `reborn`: every lower incarnation of this machine is over, and nothing of it is open (0: not known); at this one it
    may hold no lease yet. `is_stopping`: this host stops in a moment; what would be dark by that should leave it.
    `copied`: of routers that this host stands by for, those of which it is news in this session whether it has all of
    their connections; None: not known any more. Of what was never named it is not known.
    `tracked_most`: the fact of that name (`HostFacts`), which may have become known since the hello; None: not known.
    `ways`: what `uplink_trouble` says, for the planner, and what cannot be vouched for; None: not known.
    `expired`: what this host, as an arbiter, granted last to hosts that were granted nothing since, for a second.
    """

    revision: Revision
    agent: AgentState
    agent_reason: str = ""
    routers: tuple[RouterReport, ...] = ()
    full: bool = False
    leased: Incarnation = Incarnation(0)
    guard_revision: Revision = Revision(0)
    forwarding: tuple[Forwarding, ...] | None = None
    takeovers: tuple[Takeover, ...] = ()
    buried: tuple[Burial, ...] = ()
    uplink_trouble: str = ""
    is_held: bool = False
    reborn: Incarnation = Incarnation(0)
    is_stopping: bool = False
    tracked_most: int | None = None
    copied: dict[RouterId, bool | None] = {}
    ways: WaysSaid | None = None
    expired: tuple[Tenure, ...] = ()


class AgentPlan(msgspec.Struct, frozen=True, kw_only=True, tag="plan"):
    """Sentinel to agent: what this host should run.

    `confirmed` false: the plan comes from this host's disk and the controller has not spoken yet. Then routers that
    run are kept and repaired, and nothing is built that is not there: it may have moved while this host was away.
    """

    confirmed: bool
    revision: Revision
    routers: tuple[PlannedRouter, ...]


class TakingOver(msgspec.Struct, frozen=True, kw_only=True, tag="taking-over"):
    """Sentinel to agent: whether this host takes over right now. Then nothing is built, removed or looked at that can
    wait; of `unbuilt` routers (open here, and not known to be built) the traffic waits.
    """

    is_on: bool
    unbuilt: tuple[RouterId, ...] = ()


class AgentReport(msgspec.Struct, frozen=True, kw_only=True, tag="agent-report"):
    """Agent to sentinel: routers whose state changed (all when `full`), and the revision worked on. `unannounced`:
    guarded ones of which interfaces or addresses are new; that is said whenever it happens, whatever their state.
    """

    revision: Revision
    routers: tuple[RouterReport, ...] = ()
    full: bool = False
    unannounced: tuple[RouterId, ...] = ()


class AgentAlive(msgspec.Struct, frozen=True, kw_only=True, tag="agent-alive"):
    """Agent to sentinel, each second: its loop turns. `busy_s`: how long its longest running kernel work has taken."""

    busy_s: float = 0.0


class AgentUnable(msgspec.Struct, frozen=True, kw_only=True, tag="agent-unable"):
    """Agent to sentinel, its last word: it cannot do its work on this host, and why."""

    reason: str


FromController = Challenge | Welcome | Refused | Snapshot | Change | Bury
FromHost = Hello | Declined | Report
ToAgent = AgentPlan | Change | TakingOver
"""A Change follows on what this agent was sent before it, over any number of revisions; `confirmed` stays as it was."""
FromAgent = AgentReport | AgentAlive | AgentUnable


def _encode_address(value: Any) -> str:
    if isinstance(value, IPv4Address | IPv4Network):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


def _decode_address(wanted: type, value: Any) -> Any:
    if wanted in (IPv4Address, IPv4Interface, IPv4Network):
        return wanted(value)
    raise NotImplementedError(f"{wanted.__name__} has no form on the wire")


_encoder = msgspec.json.Encoder(enc_hook=_encode_address)


def encode(message: msgspec.Struct) -> bytes:
    """One message as JSON bytes."""
    return _encoder.encode(message)


def encode_plan(plan: AgentPlan) -> bytes:
    """A plan as indented JSON, for the file that people read."""
    return msgspec.json.format(encode(plan), indent=1)


class Malformed(ValueError):
    """What arrived is no message. The text says what is wrong with it, in at most `MALFORMED_CHARS_MAX` characters:
    it quotes what a peer said that may not even have the key.
    """


class Decoder(Generic[Message]):
    """Reads messages of one direction."""

    def __init__(self, kinds: Any) -> None:
        """`kinds`: the union of what may arrive."""
        self._decoder = msgspec.json.Decoder(kinds, dec_hook=_decode_address)

    def decode(self, raw: bytes | str) -> Message:
        """One message. Raises Malformed, whatever the bytes are."""
        try:
            message: Message = self._decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            # Besides its own errors msgspec raises UnicodeDecodeError, and RecursionError for deep nesting.
            raise Malformed(str(error)[:MALFORMED_CHARS_MAX]) from error
        return message


from_controller: Decoder[FromController] = Decoder(FromController)
from_host: Decoder[FromHost] = Decoder(FromHost)
to_agent: Decoder[ToAgent] = Decoder(ToAgent)
from_agent: Decoder[FromAgent] = Decoder(FromAgent)

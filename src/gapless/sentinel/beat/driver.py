"""A host's fast path without its sockets: datagrams, messages and deadlines in; datagrams, messages and the kernel out.

    datagrams ─► Envelope ─► core.edge.beat.Beat ─► Hands ─► guard, announcements
    sentinel  ─► PlanParts ─►      │     └────► datagrams, messages to the sentinel

The rule: nothing here waits, and one turn is short. What is long (a plan of 1,000 routers, their announcements) comes
in parts, and the beat goes between them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, replace
from ipaddress import IPv4Address
from typing import Protocol, TypeVar

import msgspec

from gapless.core.edge.beat import Beat
from gapless.core.edge.beatevents import (
    ArbitersBack,
    ArbitersLost,
    BeatEffect,
    BeatEvent,
    Belated,
    BurialAnswered,
    BurialAsked,
    ClockJudged,
    Deactivated,
    Emptied,
    Fenced,
    GuardRestored,
    HostSilent,
    Misheard,
    NeedIncarnation,
    Outlived,
    PlanSettled,
    Reborn,
    Received,
    Send,
    Tell,
    TookOver,
    UplinksSeen,
)
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Datagram, LeaseTiming
from gapless.model.plan import Epoch, Forwarding, PanelPlan, Takeover
from gapless.model.router import RouterId
from gapless.model.way import WaysSaid
from gapless.sentinel import waysout
from gapless.sentinel.beat import clockrate, words
from gapless.sentinel.beat.hands import Announcing, Hands, KernelEffect
from gapless.sentinel.beat.haste import Haste
from gapless.sentinel.beat.healed import Healed
from gapless.sentinel.beat.lateness import Lateness
from gapless.sentinel.beat.mended import Guarding
from gapless.sentinel.beat.planning import Planning
from gapless.sentinel.beat.story import Story
from gapless.sentinel.beat.ways import Way, Ways
from gapless.wire import beat as wire
from gapless.wire.lease import Dropped, Envelope, Outrun

ROUTERS_PER_MESSAGE = 250
"""With the times of a takeover each, they fit into a packet (`wire.packets`)."""
RHYTHM_S = 1.0
"""How often it says how late it was, and looks at its clock, at its invariants and at a guard that nobody used."""
_TRUST = "hold or grant a lease"

Endpoint = tuple[str, int]
_Item = TypeVar("_Item")


class Watching(Protocol):
    """`sentinel.beat.uplinks.Uplinks`. Nothing here waits."""

    def watch(self, gateways: Iterable[tuple[str, IPv4Address]]) -> None:
        """The gateways that routers of this host use."""

    def look(self, now: float) -> Ways:
        """How they are; the same object while nothing may have changed."""


class Driver:
    """One beat. `send` puts a datagram on its way to (address, port), `say` a message to the sentinel, `chat` one that
    may be dropped when the sentinel does not read; none of them waits.
    """

    def __init__(
        self,
        begin: wire.Begin,
        guard: Guarding,
        announcer: Announcing,
        uplinks: Watching,
        *,
        send: Callable[[Endpoint, bytes], None],
        say: Callable[[msgspec.Struct], None],
        chat: Callable[[msgspec.Struct], None],
        clock: Callable[[], float],
        as_monotonic: Callable[[float], float] = lambda moment: moment,
        clock_fault: Callable[[], str] = clockrate.fault,
    ) -> None:
        now = clock()
        self._timing = LeaseTiming(interval_s=begin.interval_s, lease_s=begin.lease_s)
        self._envelope = Envelope(bytes.fromhex(begin.key), begin.cluster, _zone(begin), begin.name)
        panel = begin.panel.panel if begin.panel is not None else None
        self._beat = Beat(begin.name, begin.incarnation, self._timing, now=now, panel=panel)
        self._announcer = announcer
        self._hands = Hands(guard, announcer, self)
        self._planning = Planning()
        self._story = Story()
        self._healed = Healed(self._timing.lease_s)
        self._haste = Haste(self._timing.lease_s)
        self._send = send
        self._say = say
        self._chat = chat
        self._clock = clock
        self._as_monotonic = as_monotonic
        self._clock_fault = clock_fault
        self._addresses: dict[HostName, Endpoint] = {}
        self._meet(begin.panel)
        self._unnamed: set[RouterId] = set()
        """Routers that a whole plan has not named so far."""
        self._told_open: dict[RouterId, Epoch] = {}
        self._uplinks = uplinks
        self._ways = Ways()
        self._ways_said: WaysSaid | None = None
        """The same for the controller; None: it has not looked yet."""
        self._ways_used: frozenset[Way] = frozenset()
        """While some are lost: those that open routers use."""
        self._networks = dict(zip(begin.uplinks, begin.networks, strict=False))
        self._unguarded_since: float | None = None
        self._was_restored = False
        """The guard was, and the core has not heard of it yet."""
        self._settled = 0
        self._level: wire.Level | None = None
        self._unannounced: dict[RouterId, TookOver] = {}
        """The takeovers of routers that are not announced yet."""
        self._takeovers = 0
        """The highest number of a takeover of this tenure that was told."""
        self._troubles: dict[str, str] = {}
        self._dropped: Counter[str] = Counter()
        self._rhythm_due = now + RHYTHM_S
        self._beats = 0
        self._lateness = Lateness()
        self._now = now
        self._due = self._beat.next_deadline()
        """The core's deadline, which only its turns change."""

    # In

    def received(self, raw: bytes, now: float, waited_s: float = 0.0) -> None:
        """A datagram arrived, and was read after `waited_s` seconds."""
        try:
            datagram = self._envelope.open(raw)
        except Dropped as error:
            self._dropped[error.fault.value] += 1
            if isinstance(error, Outrun):
                self._handle(Belated(sender=error.sender, highest=error.highest), now)
            return
        self._healed.heard(datagram, now)
        self._now = now
        kernel = self._send_off(self._turn(Received(datagram=datagram, waited_s=waited_s), now))
        # Most datagrams ask nothing of the kernel, and so change nothing that the sentinel is told. What the kernel
        # refused waits for the next beat: tried with every datagram it would keep this host from granting leases.
        if kernel:
            self._follow(self._hands.carry_out(kernel))

    @property
    def is_listening(self) -> bool:
        """The socket is to be read until it is empty, and then `emptied` to be called."""
        return self._beat.is_listening

    def emptied(self, at: float) -> None:
        """The socket was found empty, and the clock had been read before: at `at`."""
        if self._beat.is_listening:
            self._handle(Emptied(at=at), self._clock())

    def told(self, message: wire.ToBeat, now: float) -> None:
        """The sentinel said something."""
        match message:
            case wire.PlanPart():
                self._plan(message, now)
            case wire.Built():
                self._hands.built(message.routers, message.given_more)
            case wire.NewIncarnation():
                self._handle(Reborn(incarnation=message.incarnation), now)
            case wire.Outlived():
                self._handle(Outlived(up_to=message.up_to), now)
            case wire.BurialQuestion():
                self._handle(BurialAsked(tenure=message.tenure, seq=message.seq, panel=message.panel), now)
            case wire.Begin():
                raise ValueError("a beat begins once")

    def next_deadline(self) -> float:
        """When `on_deadline` is to be called, monotonic seconds."""
        return self._due

    def on_deadline(self, now: float) -> None:
        """The beat."""
        self._beats += 1
        self._lateness.met(now - self._due)
        self._now = now
        self._carry_out(self._turn(None, now))
        self._look_at_uplinks(now)
        if self._was_restored:
            self._was_restored = False
            self._handle(GuardRestored(), self._clock())
        if self._healed.is_due(now, is_anything_open=bool(self._hands.open_routers)):
            self._announcer.announce_again(self._hands.open_routers)
        if now >= self._rhythm_due:
            self._rhythm_due = now + RHYTHM_S
            self._check()
            self._hands.look_after()
            self._judge_clock()
            self._tell_rhythm()

    @property
    def has_more(self) -> bool:
        """More is to be done at once; `go_on` does the next part."""
        return self._hands.has_more

    def go_on(self) -> None:
        """Do the next part of what does not fit into one turn."""
        if self.has_more:
            begun_at = self._clock()
            self._follow(
                replace(each, begun_at=begun_at) if isinstance(each, Deactivated) else each
                for each in self._hands.close_some()
            )

    def _judge_clock(self) -> None:
        """Said when it becomes wrong, and when it is right again; how wrong it is changes all the time."""
        fault = self._clock_fault()
        if bool(fault) != bool(self._troubles.get(_TRUST)):
            self.trouble(_TRUST, fault)
            self._handle(ClockJudged(fault=fault), self._clock())

    def _look_at_uplinks(self, now: float) -> None:
        found, before = self._uplinks.look(now), self._ways
        if found is before and not found.lost:
            return
        self._ways = found
        used = self._hands.ways_used() & found.watched if found.lost else frozenset()
        if self._ways_said is None or found != before:
            self._ways_said = waysout.said(self._networks, watched=found.watched, lost=found.lost, unsure=found.unsure)
        if (found, used) == (before, self._ways_used):
            return
        self._ways_used = used
        if found.trouble != before.trouble:
            self._chat(words.uplinks(found.trouble))
        seen = UplinksSeen(
            trouble=found.trouble,
            carriers=self._names({each for each in found.lost if each[1] is None}),
            gateways=self._names({each for each in found.lost if each[1] is not None}),
            unsure=self._names(found.unsure),
            used=self._names(used),
        )
        self._handle(seen, self._clock())  # The kernel took its time.

    def _names(self, ways: Iterable[Way]) -> frozenset[str]:
        """As all hosts call them."""
        networks = self._networks
        return frozenset(f"{networks.get(link, link)} {address or ''}".strip() for link, address in ways)

    def _tell_rhythm(self) -> None:
        lateness = self._lateness
        rhythm = wire.Rhythm(
            beats=self._beats,
            latest_ms=round(lateness.take_most_s() * 1000, 3),
            late=lateness.counts(),
            late_s=round(lateness.sum_s, 6),
            dropped=dict(self._dropped),
            counts=asdict(self._beat.counters),
        )
        self._chat(rhythm)
        self._beats = 0

    def _plan(self, part: wire.PlanPart, now: float) -> None:
        self._meet(part.panel)
        named = {router.router_id for router in part.routers}
        self._envelope.know(tenure.host for router in part.routers for tenure in router.guarded.after)
        releases = (router.guarded.release for router in part.routers)
        self._envelope.know(each.tenure.host for each in releases if each is not None)
        self._unnamed = (set(self._hands.known) if part.whole else self._unnamed) - named
        self._hands.plan(part.routers, (*part.removed, *(self._unnamed if part.last else ())))
        if (planned := self._planning.take(part)) is not None:
            self._unnamed = set()
            self._uplinks.watch(self._hands.gateways())
            self._handle(planned, now)
            self._tell_epochs()

    def _meet(self, panel: PanelPlan | None) -> None:
        """The hosts that take part, and where they are."""
        if panel is None:
            return
        self._envelope.know([each.host for each in panel.addresses])
        self._envelope.know(panel.panel.arbiters)
        self._addresses = {}
        for each in panel.addresses:
            if (endpoint := _endpoint(each.address)) is not None:
                self._addresses[each.host] = endpoint
            else:
                what = f"host {each.host} is said to be reached at '{each.address}', which is no ADDRESS:PORT"
                self._chat(wire.Said(level="warning", event=what))

    # The core

    def _handle(self, event: BeatEvent, now: float) -> None:
        self._now = now
        self._carry_out(self._turn(event, now))

    def _check(self) -> None:
        """A beat that contradicts itself ends, and the next one begins with nothing open."""
        try:
            self._beat.check()
        except InvariantError as error:
            raise InvariantError(f"{error}\n{self._story}") from error

    def _turn(self, event: BeatEvent | None, now: float) -> list[BeatEffect]:
        """The core's; None: a deadline has come. Raises InvariantError with the recent story."""
        self._story.heard(event or "a deadline", now)
        try:
            effects = self._beat.handle(event, now) if event is not None else self._beat.on_deadline(now)
        except InvariantError as error:
            raise InvariantError(f"{error}\n{self._story}") from error
        self._story.did(effects, now)
        self._due = self._beat.next_deadline()
        return effects

    def _carry_out(self, effects: list[BeatEffect]) -> None:
        """Datagrams first: they wait for nothing. Then the kernel, whose answers may lead to more."""
        self._follow(self._hands.carry_out(self._send_off(effects)))

    def _follow(self, answers: Iterable[BeatEvent]) -> None:
        """What the kernel answers, and what that leads to."""
        while True:
            led_to: list[BeatEffect] = []
            for answer in answers:
                now = self._now = self._clock()  # The kernel took its time.
                led_to += self._turn(answer, now)
            if not (kernel := self._send_off(led_to)):
                break
            answers = self._hands.carry_out(kernel)
        self._tell_level()

    def _send_off(self, effects: Iterable[BeatEffect]) -> list[KernelEffect]:
        """What needs no kernel's answer; what is left."""
        kernel: list[KernelEffect] = []
        for effect in effects:
            match effect:
                case Send():
                    self._post(effect.to, effect.datagram)
                case NeedIncarnation():
                    self._say(wire.IncarnationNeeded(after=effect.after))
                case _:
                    kernel.append(effect)
        return kernel

    def _post(self, to: HostName, datagram: Datagram) -> None:
        address = self._addresses.get(to)
        if address is None:
            self._dropped["no address"] += 1
            return
        self._send(address, self._envelope.seal(to, datagram))

    # Out (the hands' witness)

    def opened(self, routers: Mapping[RouterId, Epoch]) -> None:
        """These are about to pass."""
        self._told_open |= routers
        released = self._beat.released
        told = [Forwarding(router_id=each, epoch=at, is_released=each in released) for each, at in routers.items()]
        for part in _parts(told):
            self._say(wire.Opened(routers=part))

    def passing(self, routers: Collection[RouterId]) -> None:
        """These pass, by a plan."""
        for part in _parts(list(routers)):
            self._say(wire.Passing(routers=part))

    def closed(self, routers: Iterable[RouterId]) -> None:
        """These pass no more."""
        routers = list(routers)
        for router_id in routers:
            self._unannounced.pop(router_id, None)
            self._told_open.pop(router_id, None)
        for part in _parts(routers):
            self._say(wire.Closed(routers=part))

    def _tell_epochs(self) -> None:
        """A plan may raise the epoch of a router that stays open."""
        raised = {
            router_id: epoch
            for router_id, epoch in self._beat.forwarding.items()
            if self._told_open.get(router_id, epoch) != epoch
        }
        self.opened(raised)

    def trouble(self, what: str, reason: str) -> None:
        """Said once, and once more when it is over."""
        if self._troubles.get(what, "") == reason:
            return
        if reason:
            self._troubles[what] = reason
            self._chat(wire.Said(level="error", event=f"cannot {what}; trying again", details={"reason": reason}))
        else:
            del self._troubles[what]
            self._chat(wire.Said(level="info", event=f"can {what} again"))

    def restored(self) -> None:
        """The guard is as it should be again."""
        self._was_restored = True
        self._healed.restored(self._now)

    def tell(self, news: Tell) -> None:
        """What the core reports, once all before it is done."""
        match news.news:
            case PlanSettled(revision=revision):
                self._settled = revision
            case BurialAnswered() as answer:
                said = wire.BurialAnswer(tenure=answer.tenure, seq=answer.seq, is_buried=answer.is_buried)
                self._say(said)
            case TookOver() as takeover:
                self._chat(words.line(takeover))
                self._tell_takeover(takeover, list(takeover.routers), None)
                self._takeovers = max(self._takeovers, takeover.number)
                self._unannounced |= dict.fromkeys(takeover.routers, takeover)
                if not takeover.is_released:
                    self._healed.over(takeover.of, self._now)
                    self._haste.opened(self._now)
            case HostSilent() as silent:
                self._chat(words.line(silent))
                self._haste.claims(self._now)
            case ArbitersLost() as lost:
                self._chat(words.line(lost))
                self._healed.lost(lost.arbiters, self._now)
            case ArbitersBack() as back:
                self._chat(words.line(back))
                self._healed.back(back.arbiters, self._now)
            case Misheard() as misheard:
                if self._healed.restored(self._now):
                    self._chat(words.line(misheard))
            case Fenced() as fenced:
                self._chat(words.line(fenced))
                self._unannounced, self._takeovers = {}, 0  # A new tenure counts its takeovers anew.
            case spoken:
                self._chat(words.line(spoken))

    def announced(self, routers: tuple[RouterId, ...], now: float) -> None:
        """These were announced, which is the last step of a takeover: it is told once more."""
        told: dict[int, list[RouterId]] = {}
        takeovers: dict[int, TookOver] = {}
        for router_id in routers:
            if takeover := self._unannounced.pop(router_id, None):
                takeovers[takeover.number] = takeover
                told.setdefault(takeover.number, []).append(router_id)
        for number, of_one in told.items():
            self._tell_takeover(takeovers[number], of_one, now)
        if told:
            self._now = now
            self._tell_level()

    def _tell_takeover(self, takeover: TookOver, routers: list[RouterId], announced: float | None) -> None:
        told = announced or self._now
        times = words.steps(takeover, self._timing, announced=announced, told=told)
        said = [
            Takeover(
                router_id=router_id,
                epoch=takeover.routers[router_id],
                of=takeover.of,
                times=times,
                is_released=takeover.is_released,
            )
            for router_id in routers
        ]
        for part in _parts(said):
            self._say(wire.TookOver(number=takeover.number, at=self._as_monotonic(told), takeovers=part))

    def _tell_level(self) -> None:
        tenure = self._beat.tenure
        level = wire.Level(
            tenure=tenure.incarnation if tenure is not None else Incarnation(0),
            settled=self._settled,
            panel=self._beat.panel,
            takeovers=self._takeovers,
            trouble=self._ways.trouble,
            ways=self._ways_said,
            is_taking_over=self._haste.is_on(self._now, unannounced=bool(self._unannounced)),
            reborn=self._beat.reborn,
            is_unguarded=self._is_unguarded(),
            expired=self._beat.expired,
        )
        if level != self._level:
            self._level = level
            self._say(level)

    def _is_unguarded(self) -> bool:
        """Whether the guard is away for good, as far as is known: whoever loads a ruleset step by step is soon done."""
        if not self._hands.is_unguarded:
            self._unguarded_since = None
            return False
        if self._unguarded_since is None:
            self._unguarded_since = self._now
        return self._now - self._unguarded_since >= self._timing.interval_s


def _zone(begin: wire.Begin) -> str:
    """A lease means something only among hosts that count it alike, so the timing is part of the zone's name."""
    return f"{begin.zone}/{begin.interval_s:g}/{begin.lease_s:g}"


def _endpoint(text: str) -> Endpoint | None:
    """ "ADDRESS:PORT" as a socket takes it; None where it is something else. A name would have to be asked for, and the
    beat never waits.
    """
    host, _, port = text.rpartition(":")
    try:
        address, number = str(IPv4Address(host)), int(port)
    except ValueError:
        return None
    return (address, number) if 0 < number < 65536 else None


def _parts(items: list[_Item]) -> Iterable[tuple[_Item, ...]]:
    return (tuple(items[at : at + ROUTERS_PER_MESSAGE]) for at in range(0, len(items), ROUTERS_PER_MESSAGE))

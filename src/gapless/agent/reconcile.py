"""Brings one router's kernel state to what it should be: observe, diff, apply, announce, verify.

The rule: from any starting state, half-built and hand-changed ones included, the same call leads to the same end, and
a router that runs as it should is adopted without one operation. Every success was verified against the kernel.

Blocking; different routers may be worked on by different threads, one router by one thread at a time. What they share,
their networks, is made by `agent.networks`.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from typing import Final

from gapless.agent.jobs import SWEPT_AT_ONCE
from gapless.agent.kernel import arp, gateways, links, netns, nft, sweep
from gapless.agent.kernel.aftermath import Aftermath
from gapless.agent.kernel.apply import RouterHands
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.held import Held
from gapless.agent.kernel.links import KernelLink
from gapless.agent.kernel.observe import (
    Inside,
    ends,
    has_lost_its_mark,
    namespace_state,
    observe_router,
)
from gapless.agent.kernel.senders import Senders
from gapless.agent.kernel.steering import Steering
from gapless.agent.networks import Networks
from gapless.agent.planwords import at_length, in_short
from gapless.agent.rules import Rules
from gapless.agent.wanted import Wanted
from gapless.config import HostSettings
from gapless.core.dataplane.diff import diff
from gapless.core.dataplane.leaves import ROOM
from gapless.errors import Unavailable
from gapless.kernel.netlink import Lent, Netlink
from gapless.model.leaf import Room
from gapless.model.neighbour import Neighbour, WayOut
from gapless.model.network import Network
from gapless.model.observed import (
    KernelRouter,
    NamespaceState,
    Ruleset,
)
from gapless.model.operation import (
    Announce,
    Operation,
    Steer,
    SteeringOperation,
    Unsteer,
)
from gapless.model.router import Router, RouterId
from gapless.model.sender import Sender
from gapless.observe.log import get_logger

_ROUNDS: Final = 2
"""Plans applied before giving up. One does, unless somebody else changes the router at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a reconcile did. Times are monotonic seconds of this machine."""

    changed: bool
    """Whether anything in the kernel had to be changed; False: the router was adopted as it ran."""
    announced: bool
    """Whether gratuitous ARP was sent: it became active here, gained an address, or was left unannounced."""
    started_s: float
    built_s: float
    announced_s: float
    looked_s: float
    """When the last look at the router began. All that the reconcile itself did there had been heard of by then."""
    verified_s: float
    what: str = ""
    """The operations that were carried out, in short; "" when there were none."""


class Reconciler:
    """Builds, repairs and removes routers in this host's kernel. Blocking; thread-safe for different routers."""

    def __init__(
        self,
        settings: HostSettings,
        events: RouterEvents | None = None,
        room: Room = ROOM,
        *,
        require_guard: Callable[[Sequence[Operation]], None] = lambda _: None,
    ) -> None:
        """`events` is told which namespaces to listen to; None: nobody listens. `room`: of the bridges of a network.
        `require_guard` is shown each plan for a guarded router, and raises Unavailable where it must not be carried out
        (`kernel.guarding.GuardWatch`).

        Raises Unavailable or InvalidRequest, in an operator's words, when this host cannot do the job.
        """
        nft.load()
        self._events = events
        self._require_guard = require_guard
        self._uplinks = frozenset(interface for _, interface in settings.physical_networks)
        self._networks = Networks(settings, room)
        netns.prepare_directory()
        self._hosts = Lent()
        self._held = Held()
        self._announcer = arp.Announcer()
        self._steering = Steering()
        self._senders = Senders(dict(settings.physical_networks))
        self._rules = Rules()
        self._wanted = Wanted(self._rules.listed)
        self._aftermath = Aftermath()
        self._doomed: list[str] = []
        """Links of networks that a sweep has still to delete."""
        if events is not None:
            events.on_steering = self._steering.doubt
        self._unreadable: set[RouterId] = set()
        self._recognised: dict[RouterId, int] = {}
        """Routers whose namespaces were seen to be ours, with their inode numbers: each is looked into once."""
        self._log = get_logger()

    def running(self) -> frozenset[RouterId]:
        """Routers of ours that are present in the kernel, half-built ones included.

        One that is on the wire is always among them: its taps are ours, whatever became of its namespace.
        """
        with Netlink() as host:
            left_behind = sweep.routers_of_taps(host)
        named = frozenset(netns.names())
        if given := self._held.give_all_back(named):
            self._log.info("namespaces whose names were deleted have them again", routers=len(given))
            named |= given
        self._recognised = {each: number for each, number in list(self._recognised.items()) if each in named}
        self._unreadable &= named
        return left_behind | frozenset(router_id for router_id in named if self._is_recognised(router_id))

    def _is_recognised(self, router_id: RouterId) -> bool:
        """Whether the namespace is ours. One that cannot be looked into must not hide the others: it is told, once."""
        number = netns.number_of(router_id)
        if number is not None and self._recognised.get(router_id) == number:
            return True
        self._recognised.pop(router_id, None)
        try:
            is_ours = _is_ours(router_id)
        except (Unavailable, OSError) as error:
            if router_id not in self._unreadable:
                self._log.warning(
                    "a namespace is left alone, as it cannot be looked into",
                    file=netns.path_of(router_id),
                    reason=str(error),
                )
            self._unreadable.add(router_id)
            return False
        self._unreadable.discard(router_id)
        if is_ours and number is not None and number == netns.number_of(router_id):
            self._recognised[router_id] = number
        return is_ours

    def reconcile(self, router: Router, guarded: bool = False) -> Outcome:
        """Make the kernel match `router`, whatever it looks like now. Raises Unavailable with the reason.

        A guarded router is built like any other; its taps are under the host's guard from their first moment, and the
        host's beat announces it when it opens it.
        """
        started_s = time.monotonic()
        self._steering.expect(router.id)
        try:
            with self._hosts.one() as host:
                carried = self._networks.carry(host, router)
                desired = self._wanted.of(router, carried.bridges, guarded, carried.outside)
                self._steering.want(router.id, desired.steering)
                outcome = self._converge(host, router, desired, started_s, guarded=guarded)
        except Unavailable:
            self._networks.places.forget((router.id,))
            self._networks.doubt()
            raise
        if not carried.what:
            return outcome
        return replace(outcome, changed=True, what=", ".join(filter(None, (*carried.what, outcome.what))))

    def _converge(
        self, host: Netlink, router: Router, desired: KernelRouter, started_s: float, *, guarded: bool
    ) -> Outcome:
        router_id, path = router.id, netns.path_of(router.id)
        built_s = announced_s = started_s
        changed = announced = False
        what = ""

        def announce(by: socket.socket | None, announcements: list[Announce]) -> None:
            nonlocal built_s, announced
            built_s, announced = time.monotonic(), True
            self._announcer.forget(router_id)
            if by is not None:
                self._announcer.announce(router_id, by, announcements)

        def rules(inside: Inside) -> Ruleset | None:
            return self._rules.observe(router_id, inside)

        def observed() -> KernelRouter:
            found = observe_router(host, router_id, hands.inside, desired, rules)
            if found.namespace is NamespaceState.FOREIGN:
                self._held.forget((router_id,))
            return replace(found, steering=self._steering.observe(router_id))

        def follow() -> None:
            if self._events is not None:
                self._events.follow(host, router_id, path)

        looked_s = self._catch_up()  # before the namespace is entered: its settings are read there
        with RouterHands(
            host,
            path,
            router_id,
            announce,
            self._steer,
            follow,
            give_back=lambda: self._held.give_back(router_id),
            load=partial(self._rules.load, router),
            let_go=lambda inside, forgets: self._aftermath.take(router_id, inside, forgets_unanswered=forgets),
            announces=not guarded,
        ) as hands:
            for _ in range(_ROUNDS):
                plan = diff(desired, observed())
                if not plan:
                    break
                if guarded:
                    self._require_guard(plan)
                self._rules.forget((router_id,))
                hands.carry_out(plan)
                looked_s = self._catch_up()
                changed, what = True, what or in_short(plan)
                announced_s = time.monotonic()
                built_s = built_s if announced else announced_s
            else:
                left = diff(desired, observed())
                if left:
                    raise Unavailable(f"the kernel is not as it should be after building: {at_length(left)}")
            if hands.inside is not None:
                self._held.hold(router_id, hands.inside)
            if hands.was_given_back:
                changed, what = True, ", ".join(filter(None, ("NameNamespace", what)))
        return Outcome(
            changed=changed,
            announced=announced,
            started_s=started_s,
            built_s=built_s,
            announced_s=announced_s,
            looked_s=looked_s,
            verified_s=time.monotonic(),
            what=what,
        )

    def _catch_up(self) -> float:
        return self._events.catch_up() if self._events is not None else time.monotonic()

    def _steer(self, operation: SteeringOperation) -> None:
        match operation:
            case Steer(entries=entries):
                self._steering.put(entries)
            case Unsteer(entries=entries):
                self._steering.take_out(entries)

    def gateways(self, ways: Sequence[WayOut]) -> dict[RouterId, Neighbour]:
        """What these routers' kernels know of their gateways. Raises Unavailable where the kernel does not answer."""
        return gateways.look(ways)

    def senders(self, watched: Mapping[Network, Collection[IPv4Address]]) -> list[Sender]:
        """Who was heard to use these addresses since the last call. Raises Unavailable where nobody can be heard."""
        return self._senders.hear(watched)

    def remove(self, router_id: RouterId) -> None:
        """Remove every trace of a router; nothing happens when there is none. Raises Unavailable with the reason."""
        self._remove((router_id,))

    def remove_together(self, router_ids: Sequence[RouterId]) -> dict[RouterId, str]:
        """Remove every trace of these routers; of which something is left, and why. One holds up no other."""
        if len(router_ids) > 1:
            with contextlib.suppress(Unavailable):
                self._remove(router_ids)
                return {}
        left = {}
        for router_id in router_ids:
            try:
                self.remove(router_id)
            except Unavailable as error:
                left[router_id] = str(error)
        return left

    def _remove(self, router_ids: Sequence[RouterId]) -> None:
        """A namespace that is not ours, or not for certain, stays; what carries the router's mark goes in any case."""
        self._held.forget(router_ids)
        for router_id in router_ids:
            self._announcer.forget(router_id)
            self._recognised.pop(router_id, None)
        found = netns.in_own_thread(lambda: _links_inside(router_ids), "look into namespaces")
        nameless = [router_id for router_id, inside in found.items() if inside is None]
        there = {router_id: inside for router_id, inside in found.items() if inside is not None}
        unmarked = [router_id for router_id, inside in there.items() if not _has_our_mark(inside)]
        with Netlink() as host:
            others = {each for each in unmarked if not has_lost_its_mark(host, each, there[each])}
            ours = {router_id: ends(inside) for router_id, inside in there.items() if router_id not in others}
            sweep.delete_pairs(host, ours)
            sweep.delete_taps_of(host, [*nameless, *unmarked])
        for router_id in (*ours, *nameless):
            netns.delete(netns.path_of(router_id))
        self._steering.forget(router_ids)
        self._networks.places.forget(router_ids)
        self._wanted.forget(router_ids)
        self._rules.forget(router_ids)

    def sweep(self, keep: Iterable[Network], *, most: int = SWEPT_AT_ONCE, is_first: bool = True) -> bool:
        """Remove our bridges and VXLAN devices of so many networks that are not in `keep`, and leaves without a port.
        `is_first`: all that goes is listed, and ends of ours go whose other end is elsewhere; later portions are of
        that list. Returns whether more is left.

        An uplink is released with its bridge. A bridge that somebody else uses too stays.
        """
        kept = frozenset(name for network in keep for name in sweep.names_of(network))
        with Netlink() as host:
            if is_first:
                sweep.delete_stray_taps(host, self._held)
                self._doomed = sweep.doomed_networks(host, kept, self._uplinks)
            portion, self._doomed = self._doomed[:most], self._doomed[most:]
            sweep.delete_networks(host, portion, kept, self._uplinks)
        self._networks.places.doubt()
        if not self._doomed:
            self._steering.sweep()
        return bool(self._doomed)

    def close(self) -> None:
        """Stop what runs in the background. Routers go on running."""
        self._announcer.close()
        self._aftermath.close()
        self._steering.close()
        self._senders.close()
        self._held.close()
        self._hosts.close()


def _is_ours(router_id: RouterId) -> bool:
    """Whether the namespace of a router's name carries our mark; False where it has just gone."""
    try:
        with netns.enter(netns.path_of(router_id), Netlink) as inside:
            return _has_our_mark(links.all_links(inside))
    except FileNotFoundError:
        return False


def _has_our_mark(inside: list[KernelLink]) -> bool:
    return namespace_state(inside) is NamespaceState.OURS


def _links_inside(router_ids: Iterable[RouterId]) -> dict[RouterId, list[KernelLink] | None]:
    """The links of the namespaces of these routers' names, visited by the calling thread, which is used for nothing
    else; None where there is none. Raises Unavailable where one cannot be entered.
    """
    found: dict[RouterId, list[KernelLink] | None] = {}
    for router_id in router_ids:
        path = netns.path_of(router_id)
        try:
            netns.go_into(path)
        except FileNotFoundError:
            found[router_id] = None
            continue
        except OSError as error:
            raise Unavailable(f"enter namespace {path.name}: {error.strerror or error}") from error
        with Netlink() as inside:
            found[router_id] = links.all_links(inside)
    return found

"""What the API may do to the running controller, and see of it: `Controls`, carried out.

A call from the API is a hint to look: the store has it already. What a router asks for is read from the store again
before the planner hears of it, several at once; with the store away it is read later. So that no hint can be lost for
ever, everything is compared with the store again and again; and what must never be in the planner is looked for. Both
are done all the time, in slices, so that of tens of thousands of routers nobody waits for a look at all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller import wallclock
from gapless.controller.controls import (
    ArbiterView,
    DrainView,
    HostView,
    PanelView,
)
from gapless.controller.driver import Driver
from gapless.controller.hostbook import HostBook
from gapless.controller.roster import Roster
from gapless.controller.sessions import Sessions
from gapless.controller.store import projection, thread
from gapless.controller.store.engine import Store
from gapless.core.events import (
    BrakeReleased,
    DrainPaced,
    HostAdminChanged,
    HostConfirmedOff,
    HostForgotten,
    MoveRequested,
    RouterDeleted,
    RouterNeeds,
    RouterWanted,
)
from gapless.core.ledger.views import ArbiterStatus, BrakeStatus, DrainStatus, HostStatus, Prospect, RouterStatus
from gapless.core.planner.balance import Shift
from gapless.errors import NotFound, StoreUnavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import NOBODY
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.observe.metrics import Metrics

CHECK_S = 1.0
CHECKED_AT_ONCE = 500
"""Routers whose invariants are checked each `CHECK_S`: for some milliseconds nobody else has the loop."""
AUDIT_S = 300.0
"""How long it takes to compare all routers with the store, unless that takes more than `AUDITED_AT_ONCE` a slice."""
AUDITED_AT_ONCE = 20
"""Routers that are compared with the store each `CHECK_S` at most: a hundredth of a processor's time."""
STORE_RETRY_S = 1.0


class Pilot:
    """Implements `Controls`; `run` does what takes reading."""

    def __init__(
        self,
        driver: Driver,
        *,
        store: Store,
        roster: Roster,
        sessions: Sessions,
        book: HostBook,
        metrics: Metrics,
        needs: Mapping[RouterId, RouterNeeds],
        clock: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._store = store
        self._roster = roster
        self._sessions = sessions
        self._book = book
        self._metrics = metrics
        self._needs = dict(needs)
        """As the planner was told."""
        self._clock = clock
        self._changed: set[RouterId] = set()
        self._gone: set[RouterId] = set()
        """Deleted while something was being read: what was read of them is not true any more."""
        self._moves: list[MoveRequested] = []
        self._look = asyncio.Event()
        self._check_s = clock() + CHECK_S
        self._audited = ""
        """The router up to which, by id, this tour has compared all with the store."""
        self._trouble = Ailment()
        metrics.before_page(self._show)

    # What the API asks for

    def routers_changed(self, router_ids: Iterable[RouterId]) -> None:
        """These routers were created or changed."""
        self._changed.update(router_ids)
        self._look.set()

    def router_deleted(self, router_id: RouterId) -> None:
        """This router is gone from the store."""
        self._changed.discard(router_id)
        self._gone.add(router_id)
        self._needs.pop(router_id, None)
        self._driver.blueprints.changed([router_id])
        self._driver.post(RouterDeleted(id=self._driver.fresh_id(), router_id=router_id))

    def host_admin_changed(self, host: HostName, admin_up: bool) -> None:
        """An operator took a host out of service or put it back."""
        self._roster.set_admin_up(host, admin_up)
        self._driver.post(HostAdminChanged(id=self._driver.fresh_id(), host=host, admin_up=admin_up))

    def drain_paced(self, host: HostName, at_once: int) -> None:
        """An operator said how many routers may be on their way from this host at a time."""
        self._driver.post(DrainPaced(id=self._driver.fresh_id(), host=host, at_once=at_once))

    def host_forgotten(self, host: HostName) -> None:
        """A host was deleted. Should it still be there, it may come back as a new one."""
        self._roster.forget(host)
        self._book.forget(host)
        self._sessions.end(host, "forgotten", "an operator deleted this host's agent")
        self._driver.post(HostForgotten(id=self._driver.fresh_id(), host=host))

    def move_requested(self, router_id: RouterId, host: HostName | None) -> None:
        """An operator wants a router elsewhere. The planner hears of it after what the router asks for."""
        self._moves.append(MoveRequested(id=self._driver.fresh_id(), router_id=router_id, host=host))
        self._look.set()

    def release_brake(self, hosts: frozenset[HostName] | None = None) -> Awaitable[None]:
        """An operator says that the hosts that look dead are dead."""
        named = None if hosts is None else tuple(sorted(hosts))
        return self._driver.post_awaited(BrakeReleased(id=self._driver.fresh_id(), hosts=named))

    def objections_to_off(self, hosts: Collection[HostName]) -> Mapping[HostName, str]:
        """Why an operator's word that these machines are off is refused. Raises NotFound."""
        for name in hosts:
            if self._roster.highest(name) is None:
                raise NotFound(f"no host {name} ever connected: `gapless status` lists those that there are")
        return self._driver.planner.objections_to_off(hosts, self._clock())

    def bar(self, hosts: Collection[HostName]) -> Mapping[HostName, Incarnation]:
        """Whoever comes under these names from now on is told to be above; what is left of their links is ended, so
        that none of them is heard without being told."""
        words = {}
        for name in hosts:
            words[name] = max(self._roster.highest(name) or NOBODY, self._driver.planner.highest(name))
            self._roster.bar(name, words[name])
            self._sessions.end(name, "confirmed-off", "an operator confirmed that this machine is off")
        return words

    def hosts_confirmed_off(self, words: Mapping[HostName, Incarnation]) -> None:
        """It is stored."""
        for name, up_to in words.items():
            get_logger().warning(f"An operator confirmed that {name} is off", host=name, up_to=up_to)
            self._driver.post(HostConfirmedOff(id=self._driver.fresh_id(), host=name, incarnation=up_to))

    # What the API looks at

    def panel(self) -> PanelView:
        """The arbiters as they are now."""
        status = self._driver.planner.panel_view(self._clock())
        return PanelView(
            version=status.version,
            floor=status.floor,
            level=status.level,
            arbiters=tuple(_arbiter_view(each) for each in status.arbiters),
            holders=status.holders,
            lost=status.is_lost,
            reason=status.reason,
            confirm=status.confirm,
        )

    def hosts(self) -> Mapping[HostName, HostView]:
        """Every host that is known."""
        statuses = self._driver.planner.host_views(self._clock())
        return {name: _host_view(status) for name, status in statuses.items()}

    def drain(self, host: HostName) -> DrainView | None:
        """How far a host's routers have left it, if it is known."""
        status = self._driver.planner.drain_view(host)
        return None if status is None else _drain_view(status)

    def prospects(self, host: HostName) -> Sequence[Prospect]:
        """Where each router of this host would go, were that taken out of service now."""
        return self._driver.planner.prospects(host)

    def shifts(self) -> Sequence[Shift]:
        """Which routers should go elsewhere, so that hosts have about as many active; what helps most first."""
        return self._driver.planner.shifts()

    def router(self, router_id: RouterId) -> RouterStatus | None:
        """One router, if it is known."""
        return self._driver.planner.router_view(router_id)

    def routers(self) -> Mapping[RouterId, RouterStatus]:
        """Every router that is known."""
        return self._driver.planner.router_views()

    def objections(self, router_id: RouterId) -> Mapping[HostName, str]:
        """Why each host other than its present one cannot take this router now; "" for a host that can."""
        return self._driver.planner.objections(router_id)

    def brake(self) -> BrakeStatus:
        """The brake as it is now."""
        return self._driver.planner.brake_view()

    def _show(self) -> None:
        """Set the gauges of placement."""
        planner = self._driver.planner
        hosts = planner.host_views(self._clock()).values()
        self._metrics.show_agents(sum(each.without_agent_s is not None for each in hosts))
        self._metrics.show_ways_out(sum(bool(each.lost_ways) for each in hosts))
        self._metrics.show_damping(planner.router_dampings())
        self._metrics.show_health(planner.router_healths())
        self._metrics.show_placement(
            (each.standing for each in hosts),
            planner.router_states(),
            braked=planner.brake_view().engaged,
        )
        arbiters = planner.panel_view(self._clock())
        self._metrics.show_arbiters((each.is_heard for each in arbiters.arbiters), is_lost=arbiters.is_lost)

    # Reading

    async def run(self) -> None:
        """Read what changed whenever something did, and everything now and then, for ever. The clock is looked at
        first: writes without end keep nothing else from its turn.
        """
        while True:
            if not await self.turn():
                await asyncio.sleep(STORE_RETRY_S)
            if self._look.is_set():
                continue
            try:
                async with asyncio.timeout(max(0.0, self._check_s - self._clock())):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def turn(self) -> bool:
        """Do what is due by the clock, and then what was asked for; false if that has to be done again later."""
        now = self._clock()
        if now >= self._check_s:
            self._check_s = now + CHECK_S
            self._driver.planner.check_slice(CHECKED_AT_ONCE)
            await self.audit(min(ceil(len(self._needs) * CHECK_S / AUDIT_S), AUDITED_AT_ONCE))
        return await self.read_changed() if self._look.is_set() else True

    async def read_changed(self) -> bool:
        """Tell the planner and the sessions what changed; false if that has to be done again."""
        self._look.clear()
        changed, self._changed = self._changed, set()
        moves, self._moves = self._moves, []
        if not await self._read_and_compare(changed):
            self._moves = moves + self._moves
            self.routers_changed(changed - self._gone)
            return False
        for move in moves:
            self._driver.post(move)
        return True

    async def audit(self, most: int) -> bool:
        """Find what no hint told of, among the next `most` routers; true at the end of a tour of all of them."""
        after, most = self._audited, max(most, 1)
        self._gone.clear()
        stored = await self._read(lambda session: projection.needs_after(session, after, most))
        if stored is None:
            return False
        is_end = len(stored) < most
        self._audited = "" if is_end else max(stored)
        known = {each for each in self._needs if after < each and (is_end or each <= self._audited)}
        self._compare_all(known | stored.keys(), stored, are_hints=False)
        return is_end

    async def _read_and_compare(self, ids: set[RouterId]) -> bool:
        """Compare these routers with the store. False if it cannot be read."""
        self._gone.clear()
        stored = await self._read(lambda session: projection.needs(session, ids))
        if stored is None:
            return False
        self._compare_all(ids, stored, are_hints=True)
        return True

    async def _read(
        self, work: Callable[[AsyncSession], Coroutine[Any, Any, dict[RouterId, RouterNeeds]]]
    ) -> dict[RouterId, RouterNeeds] | None:
        """What the store says; None if it cannot be read."""
        try:
            async with self._store.reading(ahead=True) as session:
                stored = await thread.run(session, work(session))
        except StoreUnavailable as error:
            what = "What changed cannot be read; tried again and again"
            self._trouble.persists(get_logger().warning, what, reason=str(error))
            return None
        self._trouble.ends(get_logger().info, "What changed can be read again")
        return stored

    def _compare_all(self, ids: set[RouterId], stored: Mapping[RouterId, RouterNeeds], *, are_hints: bool) -> None:
        looked_at = ids - self._gone
        for router_id in sorted(looked_at):
            self._compare(router_id, stored.get(router_id), is_hint=are_hints)
        self._driver.blueprints.changed(looked_at)
        self._sessions.look_at(looked_at)

    def _compare(self, router_id: RouterId, needs: RouterNeeds | None, *, is_hint: bool) -> None:
        if needs is None:
            if self._needs.pop(router_id, None) is not None or is_hint:
                self._driver.post(RouterDeleted(id=self._driver.fresh_id(), router_id=router_id))
        elif is_hint or self._needs.get(router_id) != needs:
            self._needs[router_id] = needs
            self._driver.post(RouterWanted(id=self._driver.fresh_id(), needs=needs))


def _host_view(status: HostStatus) -> HostView:
    return HostView(
        name=status.name,
        alive=status.alive,
        standing=status.standing,
        reason=status.reason,
        heard_at=_heard_at(status.silent_s),
        routers=status.routers,
        takes_routers=status.takes_routers,
        holds_lease=status.holds_lease,
        arbiter=status.arbiter,
        without_lease_s=status.without_lease_s,
        without_agent_s=status.without_agent_s,
        lost_ways=status.lost_ways,
        tracked_most=status.tracked_most,
    )


def _drain_view(status: DrainStatus) -> DrainView:
    return DrainView(
        host=status.host,
        admin_state_up=status.admin_up,
        standing=status.standing,
        at_once=status.at_once,
        routers=status.routers,
        leaving=status.leaving,
        on_their_way=status.on_their_way,
        stuck=status.stuck,
    )


def _arbiter_view(status: ArbiterStatus) -> ArbiterView:
    return ArbiterView(
        name=status.name,
        panels=status.panels,
        heard=status.is_heard,
        confirmed_off=status.is_off,
        standing=status.standing,
        heard_at=_heard_at(status.silent_s),
    )


def _heard_at(silent_s: float | None) -> datetime | None:
    return None if silent_s is None else wallclock.ago(silent_s)

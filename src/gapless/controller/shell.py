"""The planner and everything around it, made from what the store holds; without the API, and not yet listening.

The planner keeps nothing of its own between two starts: hosts, what routers ask for, bindings, and which moves were on
their way are all read here.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from gapless.controller.driver import Driver
from gapless.controller.hostbook import HostBook
from gapless.controller.link import Link
from gapless.controller.pilot import Pilot
from gapless.controller.roster import Roster
from gapless.controller.sessions import Sessions
from gapless.controller.store import bindingrows, clusterrows, hostrows, moverows, projection
from gapless.controller.store.engine import Store
from gapless.core.events import RouterNeeds
from gapless.core.ledger.liveness import Timing
from gapless.core.ledger.views import StoredHost, StoredRouter, StoredWord
from gapless.core.planner.planner import Planner
from gapless.model.host import HostName
from gapless.model.lease import DEFAULT, LeaseTiming, Panel
from gapless.model.plan import Epoch, MoveKind
from gapless.model.router import RouterId
from gapless.observe.metrics import Metrics


class Task(Protocol):
    """Something that runs until it is cancelled."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMove:
    """A move that had begun when the last controller ended, and had not come to its end."""

    router_id: RouterId
    kind: MoveKind
    host: HostName
    """Where it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The parts of a controller that others talk to."""

    cluster: str
    metrics: Metrics
    sessions: Sessions
    book: HostBook
    driver: Driver
    pilot: Pilot
    link: Link
    open_moves: tuple[OpenMove, ...]
    """What the planner takes up again, by router."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What has to run."""
        return (self.driver, self.driver.recorder, self.pilot, self.book)

    async def write_the_rest(self) -> None:
        """Store what was still to be stored when the tasks ended; nothing is read any more."""
        await self.driver.blueprints.end()
        await self.driver.recorder.flush()
        await self.book.write()


async def assemble(
    store: Store,
    *,
    key: bytes,
    liveness: Timing,
    lease: LeaseTiming = DEFAULT,
    standbys: int = 1,
    clock: Callable[[], float],
    keep_moves_days: float = 0.0,
) -> Shell:
    """Read the store and put the parts together. `clock` is the loop's; raises StoreUnavailable."""
    metrics = Metrics()
    levels = await _levels(store)
    now = clock()
    roster = Roster(levels.hosts, levels.names, dead_after_s=liveness.dead_after_s, now=now)
    sessions = Sessions()
    book = HostBook(store, metrics, every_s=max(1.0, min(liveness.report_interval_s, 30.0)))
    planner = Planner(
        liveness,
        now=now,
        hosts=levels.planner_hosts(),
        routers=levels.planner_routers(),
        panel=levels.panel,
        lease=lease,
        words=levels.planner_words(),
        standbys=standbys,
    )
    driver = Driver(
        planner,
        store=store,
        roster=roster,
        sessions=sessions,
        metrics=metrics,
        clock=clock,
        keep_moves_days=keep_moves_days,
    )
    pilot = Pilot(
        driver,
        store=store,
        roster=roster,
        sessions=sessions,
        book=book,
        metrics=metrics,
        needs=levels.needs,
        clock=clock,
    )
    book.on_gone = pilot.host_forgotten
    link = Link(
        key=key,
        cluster=levels.cluster,
        report_interval_s=liveness.report_interval_s,
        dead_after_s=liveness.dead_after_s,
        roster=roster,
        sessions=sessions,
        book=book,
        ears=driver,
        plans=driver,
        metrics=metrics,
    )
    return Shell(
        cluster=levels.cluster,
        metrics=metrics,
        sessions=sessions,
        book=book,
        driver=driver,
        pilot=pilot,
        link=link,
        open_moves=levels.moves_taken_up(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Levels:
    """All that the planner goes on from."""

    cluster: str
    hosts: dict[HostName, hostrows.HostRecord]
    names: dict[HostName, hostrows.NameRecord]
    needs: dict[RouterId, RouterNeeds]
    bindings: dict[RouterId, bindingrows.StoredBinding]
    open_moves: dict[RouterId, MoveKind]
    panel: Panel | None
    choices: dict[RouterId, str]

    def planner_hosts(self) -> list[StoredHost]:
        return [
            StoredHost(
                facts=host.facts,
                incarnation=host.incarnation,
                admin_up=host.admin_up,
                drains_at_once=host.drains_at_once,
            )
            for host in self.hosts.values()
        ]

    def planner_words(self) -> list[StoredWord]:
        return [
            StoredWord(host=name, up_to=record.confirmed, is_off=record.is_off)
            for name, record in self.names.items()
            if record.confirmed
        ]

    def moves_taken_up(self) -> tuple[OpenMove, ...]:
        return tuple(
            OpenMove(router_id=router_id, kind=kind, host=self.bindings[router_id].assignment.host)
            for router_id, kind in sorted(self.open_moves.items())
        )

    def planner_routers(self) -> list[StoredRouter]:
        return [self._planner_router(router_id, needs) for router_id, needs in self.needs.items()]

    def _planner_router(self, router_id: RouterId, needs: RouterNeeds) -> StoredRouter:
        bound = self.bindings.get(router_id)
        if bound is None:
            return StoredRouter(needs=needs)
        return StoredRouter(
            needs=needs,
            host=bound.assignment.host,
            epoch=Epoch(bound.assignment.epoch),
            leaving_host=bound.leaving_host,
            open_move=self.open_moves.get(router_id),
            incarnation=bound.incarnation,
            leaving_incarnation=bound.leaving_incarnation,
            successors=bound.successors,
            choice=self.choices.get(router_id, ""),
        )


async def _levels(store: Store) -> _Levels:
    async with store.transaction() as session:
        return _Levels(
            cluster=await clusterrows.cluster_id(session),
            hosts=await hostrows.hosts(session),
            names=await hostrows.names(session),
            needs=await projection.needs(session),
            bindings=await bindingrows.bindings(session),
            open_moves=await moverows.open_moves(session),
            panel=await clusterrows.panel(session),
            choices=await moverows.choices(session),
        )

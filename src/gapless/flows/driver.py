"""The flows process's shell: takes its duties from the sentinel, tells and follows, and says that it lives.

It never stands between a packet and its way: it hears what the kernel has done, and writes into tables that no packet
uses yet. When it dies, flows go on; those that begin meanwhile are copied by the next one.
"""

import asyncio
import time

from gapless.config import Address
from gapless.errors import Unavailable
from gapless.flows.figures import Figures
from gapless.flows.names import Names
from gapless.flows.room import Room
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.turns import Turns
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.observe.log import get_logger
from gapless.wire.flowlink import Asking, FlowsAlive, FlowsBegin, FlowsDuties, FlowsFlushed, ToFlows
from gapless.wire.flows import Identity
from gapless.wire.local import LocalLink

LOOK_S = 1.0
LOOK_SHARE = 0.003
LOOK_MOST_S = 5.0
"""How often it is looked whether copies are due, and whether namespaces are others (`flows.names`); where looks take
long, less often, so that they take no more than this share of the process's time."""
ALIVE_S = 1.0
SAY_EACH_S = 60.0
FLUSH_LOOK_S = 0.005
"""How often it is looked whether followers have all of what is about to move there."""


class Driver:
    """One process's."""

    def __init__(self, link: LocalLink[ToFlows], begin: FlowsBegin, room: Room | None = None) -> None:
        self._link, self._begin = link, begin
        self._me = Identity(name=begin.name, cluster=begin.cluster, key=bytes.fromhex(begin.key))
        self._figures = Figures()
        self._told: frozenset[RouterId] = frozenset()
        self._turns = Turns()
        self._room = Room(may_raise=begin.raises_most) if room is None else room
        self._source = Source(
            self._me,
            self._figures,
            lambda router_id: router_id in self._told,
            most=begin.most,
            policy=begin.policy,
            turns=self._turns,
            room=self._room,
        )
        self._flush: dict[RouterId, Asking] = {}
        self._has_to_flush = asyncio.Event()
        self._sinks: dict[HostName, tuple[Sink, asyncio.Task[None]]] = {}
        self._preceding: frozenset[HostName] = frozenset()
        """Hosts that are followed; of others the last may be heard."""
        self._log = get_logger()

    async def run(self) -> None:
        """Until the sentinel closes the link. Raises Unavailable when this host cannot do it."""
        policy = self._begin.policy
        self._log.info(
            "connections are copied from here",
            protocols=",".join(policy.protocols),
            udp_age_s=policy.udp_age_s,
            most=self._begin.most,
        )
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._source.serve(self._begin.address, self._begin.port)),
                tasks.create_task(self._look()),
                tasks.create_task(self._say()),
                tasks.create_task(self._flush_all()),
            ]
            await self._listen(tasks)
            for task in (*running, *(task for _, task in self._sinks.values())):
                task.cancel()

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        while (message := await self._link.receive()) is not None:
            if isinstance(message, FlowsBegin):
                raise Unavailable("the sentinel began twice")
            self._become(message, tasks)

    def _become(self, duties: FlowsDuties, tasks: asyncio.TaskGroup) -> None:
        """What is active here first: from that on nothing that is there is touched."""
        self._told = frozenset(duties.told)
        by_host: dict[HostName, set[RouterId]] = {}
        for router_id, hosts in duties.followed.items():
            for host in hosts:
                by_host.setdefault(host, set()).add(router_id)
        opening = frozenset(duties.opening)
        self._preceding = frozenset(by_host.keys() & duties.addresses.keys())
        for host in self._preceding - self._sinks.keys():
            sink = Sink(self._me, host, self._figures, turns=self._turns, room=self._room)
            sink.address = self._at(duties.addresses[host])
            self._sinks[host] = sink, tasks.create_task(sink.run())
        for host, (sink, _) in self._sinks.items():
            is_followed = host in self._preceding
            address = self._at(duties.addresses[host]) if is_followed else sink.address
            sink.follow(frozenset(by_host[host] if is_followed else ()), address, active=self._told | opening)
        self._leave()
        self._source.look(time.monotonic())
        self._flush = duties.askings
        self._has_to_flush.set()

    def _leave(self) -> None:
        """Hosts that are not followed any more, and were heard to the end."""
        for host in self._sinks.keys() - self._preceding:
            if not self._sinks[host][0].is_parting:
                self._sinks.pop(host)[1].cancel()
                self._room.forget(host)

    def _at(self, address: str) -> tuple[str, int]:
        at = Address.parse(address, self._begin.port)
        return at.host, at.port

    async def _look(self) -> None:
        took_s, names = 0.0, Names()
        while True:
            await asyncio.sleep(max(LOOK_S, min(took_s / LOOK_SHARE, LOOK_MOST_S)))
            began_s, now = time.thread_time(), time.monotonic()
            may_differ = names.may_differ(now)
            self._source.look(now, names=may_differ)
            for sink, _ in self._sinks.values():
                sink.look(names=may_differ)
            self._leave()
            self._room.look()
            took_s = time.thread_time() - began_s

    async def _flush_all(self) -> None:
        """Say of what is about to move when its follower has all of it. Nothing is looked at while nothing moves."""
        while True:
            await self._has_to_flush.wait()
            if done := self._source.flushed(self._flush):
                answers = {each: self._flush.pop(each) for each in done}
                await self._link.send(FlowsFlushed(routers=tuple(done), answers=answers))
            if not self._flush:
                self._has_to_flush.clear()
                self._source.flushed({})
                continue
            await asyncio.sleep(FLUSH_LOOK_S)

    def _copied(self) -> dict[RouterId, bool]:
        """Of which routers that are followed all flows are here, and of which not; where it is known. A router is
        followed at each host where it may be active, and it is active on one.
        """
        now, copied = time.monotonic(), dict[RouterId, bool]()
        unknown = set[RouterId]()
        for sink, _ in self._sinks.values():
            for router_id, is_copied in sink.copied(now).items():
                copied[router_id] = bool(is_copied) or copied.get(router_id, False)
                if is_copied is None:
                    unknown.add(router_id)
        return {each: is_copied for each, is_copied in copied.items() if is_copied or each not in unknown}

    async def _say(self) -> None:
        said_at, worst_ms, told = time.monotonic(), 0.0, dict[RouterId, bool]()
        while True:
            await asyncio.sleep(ALIVE_S)
            self._source.measure(time.monotonic())
            figures, copied = self._figures.report(), self._copied()
            news = {
                each: copied.get(each) for each in copied.keys() | told.keys() if copied.get(each) != told.get(each)
            }
            await self._link.send(FlowsAlive(figures=figures, copied=news))
            told = copied
            worst_ms = max(worst_ms, figures.lag_ms)
            if time.monotonic() - said_at >= SAY_EACH_S:
                self._log.info(
                    "flows",
                    told=len(self._told),
                    followed=sum(sink.followed for sink, _ in self._sinks.values()),
                    streams=figures.streams,
                    heard=figures.heard,
                    applied=figures.applied,
                    refused=figures.refused,
                    unread=figures.unread,
                    overruns=figures.overruns,
                    lag_ms=worst_ms,
                )
                said_at, worst_ms = time.monotonic(), 0.0

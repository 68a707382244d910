"""The lab as a whole: builds it, adds tenants, waits until things are as they should be. Runs inside (see `enter`).

async with Lab(LabSettings(hosts=3, routers=20)) as lab:
    await lab.build()
    async with lab.traffic() as traffic:
        await traffic.all_answered(for_s=1, timeout_s=30)
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Interface
from types import TracebackType

from gapless.errors import InvalidRequest, Unavailable
from gapless.lab import tenants
from gapless.lab.api import Api, Item
from gapless.lab.findings import events, watch
from gapless.lab.findings.events import Phase
from gapless.lab.machines import layout, netns, shell
from gapless.lab.machines.layout import Place
from gapless.lab.machines.nodes import AGENT_READY, Controller, Host, Node, PlainNode, settled_arbiters
from gapless.lab.machines.wiring import Cable, Switch
from gapless.lab.measuring import answers, probes, tracked, whereabouts
from gapless.lab.measuring.capture import Capture
from gapless.lab.measuring.probes import Flow
from gapless.lab.measuring.sniffer import Orders
from gapless.lab.measuring.talking import Talking, spread
from gapless.lab.measuring.tracked import Wanted
from gapless.lab.measuring.traffic import Traffic
from gapless.lab.measuring.whereabouts import Sighting
from gapless.lab.settings import LabSettings
from gapless.lab.tenants import Tenant
from gapless.lab.waiting import until
from gapless.observe.words import counted

START_TIMEOUT_S = 60.0
ROUTERS_TIMEOUT_S = 120.0
"""Plus a second a router."""
HOSTS_AT_ONCE = 8
COPY_A_ROUTER_S = 0.1
"""Copies take turns: some 50 ms each at a large table of the kernel's."""
LIST_A_ROUTER_S = 0.01
"""To list a namespace's connections costs the kernel milliseconds, which copying needs: so it is done less often."""
ASK_A_ROUTER_S = 0.001
"""To say how every router does costs the controller time that it needs for them: so it is asked the less often."""


class Lab:
    """Hosts, switches, VMs, an outside world and a controller, in the namespaces of the calling process."""

    def __init__(self, settings: LabSettings, listen: events.Listener = events.nobody) -> None:
        self.settings = settings
        self.listen = listen
        self.api = Api()
        self.watch = watch.Watch(self.api, listen)
        self.controller = Controller(settings)
        self.hosts = {host.name: host for host in (Host(Place(n + 1), settings) for n in range(settings.hosts))}
        self.tenants: list[Tenant] = []
        self.whole_since = datetime.now(UTC)
        """Since when nothing is broken on purpose: the lab's beginning, the end of its last experiment."""
        self._plain = [PlainNode(layout.COMPUTE), PlainNode(layout.OUTSIDE)]
        self._external_id = ""

    async def __aenter__(self) -> "Lab":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.watch.stop()
        for machine in (self.controller.machine, *(host.machine for host in self.hosts.values())):
            machine.power_off()
            await machine.ended()
        await self.api.close()

    # -- building: each step can also be taken alone --------------------------------------------------------------

    async def build(self) -> None:
        """Everything that the settings ask for, until every router is active."""
        await self.build_nodes()
        await self.start_controller()
        if self.controller.arbiter is not None:
            await self.controller.arbiter.start()
        first = list(self.hosts)[: 1 if self.settings.packed else None]
        others = list(self.hosts)[len(first) :]
        await self._join(first)
        if self.settings.routers:
            await self.add_tenants(self.settings.routers)
            await self.routers_active()
        # One after another: an arbiter that has just started says nothing for a while, and two such are most of three.
        for name in others:
            await self._join([name])
        if self.settings.routers:
            await self.standbys_ready()
            await self.routers_active(on=lambda name: name in first)

    async def _join(self, names: Sequence[str]) -> None:
        """Start these hosts, and wait until they take routers and the arbiters are settled."""
        await self.start_hosts(self.hosts[name] for name in names)
        await self.hosts_alive(*names)
        if self.settings.has_standbys:
            await self.arbiters_settled()

    async def build_nodes(self) -> None:
        """Switches, cables, machines, the outside world: everything but the real processes."""
        self._begin(Phase.NODES, f"{counted(len(self.hosts), 'host')} on {len(layout.SWITCHES)} switches")
        await shell.ip(["link set lo up"])
        await layout.MGMT.install(str(layout.LAB_ADDRESS))
        await layout.DATA.install()
        await layout.EXT.install()
        for node in self._plain:
            await asyncio.to_thread(netns.create, node.name)
        far = layout.addressed("lo", IPv4Interface(layout.FAR_OUTSIDE))
        await self._wire(layout.OUTSIDE, layout.EXT, layout.EXTERNAL_GATEWAY, far)
        await self._wire(layout.COMPUTE, layout.DATA, layout.COMPUTE_ADDRESS)
        await self.controller.power_on()
        await _each(self.hosts.values(), lambda host: host.power_on())

    async def _wire(self, node: str, switch: Switch, address: IPv4Interface, more: Iterable[str] = ()) -> None:
        await shell.ip(Cable(switch, node).plug())
        await shell.ip([*layout.addressed(switch.interface, address), *more], inside=self.node(node).inside())

    async def start_controller(self) -> None:
        """Start `gapless server`, and wait until its API answers and the cluster's key is there."""
        self._begin(Phase.CONTROLLER)
        await self.controller.server.start()
        await self.controller_answers()

    async def controller_answers(self) -> None:
        """Wait until the API answers. Raises Unavailable with the server's last words if it ended instead."""

        async def answers() -> bool:
            self.controller.server.check()
            try:
                await self.api.hosts()
            except Unavailable:
                return False
            return self.controller.key.exists()

        await until(answers, "the controller's API answers", START_TIMEOUT_S, self.controller.server.last_words)

    async def start_hosts(self, hosts: Iterable[Host]) -> None:
        """Start `gapless host` on each."""
        self._begin(Phase.HOSTS)
        await _each(hosts, lambda host: host.start(self.controller.key))

    async def arbiters_settled(self) -> None:
        """Wait until there are as many arbiters as the sentinels that run allow, up to as many as the standbys ask for,
        and no old set is asked beside the new one: while a single one is replaced, its death ends every lease.
        """
        server = self.controller.server
        sentinels = [host.sentinel for host in self.hosts.values()]
        if self.controller.arbiter is not None:
            sentinels.append(self.controller.arbiter)
        running = [sentinel for sentinel in sentinels if sentinel.is_running]
        sizes = [2 * deaths + 1 for deaths in range(1, self.settings.standbys + 1)]
        enough = max([1, *(size for size in sizes if size <= len(running))])

        async def settled() -> bool:
            for sentinel in running:
                sentinel.check()
            log = await asyncio.to_thread(server.log.read_text, errors="replace")
            return len(settled_arbiters(log)) >= enough

        await until(settled, "there are arbiters enough", START_TIMEOUT_S, server.last_words)

    async def hosts_alive(self, *names: str) -> None:
        """Wait until the controller says that these hosts (all, if none is named) take routers of the lab's mode."""
        wanted = set(names or self.hosts)

        async def alive() -> bool:
            for name in wanted:
                self.hosts[name].sentinel.check()
            taking = {host["name"] for host in await self.api.hosts() if self._takes_routers(host)}
            ready = [name for name in wanted if self.hosts[name].sentinel.has_said(AGENT_READY)]
            count = sum(name in taking for name in ready)
            self._progress(Phase.HOSTS, count, len(wanted))
            return bool(count == len(wanted))

        await until(alive, f"the controller calls {', '.join(sorted(wanted))} alive", START_TIMEOUT_S)

    def _takes_routers(self, host: Item) -> bool:
        return bool(host["takes_routers"] and (host["holds_lease"] or not self.settings.has_standbys))

    async def add_tenants(self, count: int) -> list[Tenant]:
        """Create more tenants through the API, and their VMs; their routers may still be under construction."""
        self._begin(Phase.TENANTS, f"{counted(count, 'tenant')}: network, router, VM and floating IP")
        if not self._external_id:
            self._external_id = await tenants.external_network(self.api)
        numbers = range(len(self.tenants) + 1, len(self.tenants) + 1 + count)
        done = 0
        async with asyncio.TaskGroup() as group:

            def plug_in(made: Sequence[Tenant]) -> None:
                nonlocal done
                done += len(made)
                self._progress(Phase.TENANTS, done, count)
                group.create_task(tenants.plug_in_vms(made))

            made = await tenants.create(self.api, self._external_id, numbers, self.settings.mode, plug_in)
        self.tenants += made
        return made

    # -- waiting and looking --------------------------------------------------------------------------------------

    async def routers_active(self, *, on: Callable[[str], bool] = lambda _: True) -> None:
        """Wait until the controller calls every tenant's router active, on hosts for which `on(host)` holds."""

        def lacks(router: Item) -> str:
            fits = router["state"] == "active" and on(router["host"])
            return "" if fits else f"{router['state']} on {router['host']}: {router['reason']}"

        await self._every_router(Phase.ROUTERS, "is active", lacks)

    async def routers_at(self, wanted: Mapping[str, str]) -> None:
        """Wait until these routers (router id -> host) are active there, and all others anywhere."""

        def lacks(router: Item) -> str:
            host = wanted.get(router["router_id"], router["host"])
            fits = router["state"] == "active" and router["host"] == host
            return "" if fits else f"{router['state']} on {router['host']}, not {host}: {router['reason']}"

        await self._every_router(Phase.ROUTERS, "is where it should be", lacks)

    async def drained(self, names: Iterable[str]) -> None:
        """Wait until all routers have left these hosts, which are out of service, and are active elsewhere."""
        left: dict[str, Item] = {}

        async def fine() -> bool:
            left.update({name: await self.api.drain(name) for name in names})
            return not any(_has_routers(each) for each in left.values())

        def why_not() -> str:
            return "; ".join(f"{name}: {each}" for name, each in left.items() if _has_routers(each))

        await until(fine, "the hosts are drained", ROUTERS_TIMEOUT_S + len(self.tenants), why_not)

    async def standbys_ready(self) -> None:
        """Wait until every router has its standbys, all ready; at once where the mode or the hosts allow none."""
        if not self.settings.has_standbys:
            return
        able = sum(self._takes_routers(host) for host in await self.api.hosts() if host["name"] in self.hosts)
        most = min(self.settings.standbys, able - 1)
        if most < 1:
            return

        def lacks(router: Item) -> str:
            words = [each["state"] for each in router["standbys"]]
            said = ", ".join(f"{each['host']} {each['state']}" for each in router["standbys"])
            return "" if words.count("ready") >= most else f"{said}: {router['reason']}"

        await self._every_router(Phase.STANDBYS, "has a standby", lacks)

    async def _every_router(self, phase: Phase, what: str, lacks: Callable[[Item], str]) -> None:
        """Wait until every tenant's router lacks nothing, by what the controller says of it."""
        total = len(self.tenants)
        missing = dict.fromkeys((tenant.router_id for tenant in self.tenants), "not known to the controller")

        async def fine() -> bool:
            missing.update((router["router_id"], lacks(router)) for router in await self._routers_now())
            left = sum(bool(missing[tenant.router_id]) for tenant in self.tenants)
            self._progress(phase, total - left, total)
            return not left

        def why_not() -> str:
            return "; ".join([f"{router_id} {said}" for router_id, said in missing.items() if said][:5])

        if not await fine():
            self._begin(phase)
        each_s = total * ASK_A_ROUTER_S
        await until(fine, f"every router {what}", ROUTERS_TIMEOUT_S + total, why_not, each_s=each_s)

    async def _routers_now(self) -> list[Item]:
        """What the controller says; nothing where it is away just now."""
        try:
            return await self.api.routers()
        except Unavailable:
            return []

    async def problems(self) -> list[str]:
        """What a look into every host finds wrong; empty when each router is on exactly one host, whole."""
        sightings = await whereabouts.look(self.hosts.values())
        by_hand = [router["router_id"] for router in await self._routers_now()]
        active = await self.answering() if self.settings.has_standbys else self._built(sightings)
        return whereabouts.problems(self.tenants, sightings, active, by_hand)

    async def placement(self) -> dict[str, list[str]]:
        """Router id -> the hosts that it is active on: by a look into every host, or by who answers where a router is
        built on hosts on which it is not active.
        """
        if self.settings.has_standbys:
            return await self.answering()
        return self._built(await whereabouts.look(self.hosts.values()))

    def _built(self, sightings: Sequence[Sighting]) -> dict[str, list[str]]:
        return whereabouts.placement(self.tenants, sightings)

    async def answering(self) -> dict[str, list[str]]:
        """Router id -> the hosts that answer for its gateway address on the external network."""
        ports = {host.place.ext_cable.port: name for name, host in self.hosts.items()}
        addresses = {tenant.gateway_address: tenant.router_id for tenant in self.tenants}
        found = await asyncio.to_thread(answers.who_answers, addresses, layout.EXT.name, ports)
        return {router_id: sorted(found[address]) for address, router_id in addresses.items()}

    async def one_host_each(self, timeout_s: float = 30.0) -> None:
        """Wait until every router is on exactly one host. Raises Unavailable, naming what is wrong."""
        wrong: list[str] = []

        async def fine() -> bool:
            wrong[:] = await self.problems()
            return not wrong

        await until(fine, "each router is on exactly one host", timeout_s, lambda: "; ".join(wrong[:5]))

    async def busiest_host(self) -> Host:
        """The host with the most routers; of equals, the first."""
        count = dict.fromkeys(self.hosts, 0)
        for hosts in (await self.placement()).values():
            for name in hosts:
                count[name] += 1
        return self.hosts[max(count, key=lambda name: count[name])]

    async def fatal_pair(self) -> list[Host]:
        """The host with the most routers, and the one that is the first standby of the most of these."""
        busiest = await self.busiest_host()
        bound = [router for router in await self.api.routers() if router["host"] == busiest.name]
        firsts = Counter(router["standbys"][0]["host"] for router in bound if router["standbys"])
        return [busiest, *(self.hosts[name] for name, _ in firsts.most_common(1))]

    @property
    def interval_ms(self) -> float:
        """What the probes are sent at: as set, or the finest that this many allow."""
        return self.settings.interval_ms or probes.interval_ms_for(len(self._probed()))

    def _probed(self) -> list[Flow]:
        return tenants.probed(self.tenants, self.settings.probed, one_way=self.settings.one_way)

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[Traffic]:
        """Probes through the tenants' routers (see `tenants.probed`), until the block is left.

        Raises InvalidRequest where there is none.
        """
        if not self.tenants:
            raise InvalidRequest("this lab has no router, so there is nothing to measure")
        flows = self._probed()
        interval_ms = self.interval_ms
        traffic = Traffic(flows, interval_ms, on_pulse=lambda pulse: self.listen(watch.seen(pulse, flows, interval_ms)))
        try:
            await traffic.start()
            yield traffic
        finally:
            await traffic.close()

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[Talking]:
        """Connections through the tenants' routers, as many as the settings ask for, until the block is left."""
        talking = Talking(spread(self.tenants, self.settings.flows, self.settings.kinds))
        try:
            await talking.start()
            yield talking
        finally:
            await talking.close()

    async def connections_copied(self, flows: Wanted) -> None:
        """Wait until the kernels of the standbys know these connections, beside the active ones'."""
        known, total = 0, len(self.tenants)

        async def are_copied() -> bool:
            nonlocal known
            known = await asyncio.to_thread(tracked.copied, self.hosts.values(), flows)
            return known >= len(flows)

        wanted = f"{len(flows)} connections are known to the standbys"
        patience_s, each_s = START_TIMEOUT_S + total * COPY_A_ROUTER_S, total * LIST_A_ROUTER_S
        await until(are_copied, wanted, patience_s, lambda: f"{known} are known to two hosts", each_s=each_s)

    @asynccontextmanager
    async def capture(self) -> AsyncIterator[Capture]:
        """Every frame of every router that leaves a host, until the block is left."""
        cables = [(cable, host.name) for host in self.hosts.values() for cable in host.place.cables]
        outside, inside = await tenants.macs(self.api, self.tenants)
        capture = Capture(
            Orders(
                host_of_port={cable.port: name for cable, name in cables if cable.switch is not layout.MGMT},
                outside=outside,
                inside=inside,
                deaf_to=Cable(layout.DATA, layout.COMPUTE).port,
                ask_through=layout.EXT.name,
                addresses=tuple(str(tenant.gateway_address) for tenant in self.tenants),
            )
        )
        try:
            await capture.start()
            yield capture
        finally:
            await capture.close()

    # -- nodes ----------------------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """Everything a command can be run on."""
        return [self.controller, *self.hosts.values(), *self._plain, *(PlainNode(t.vm) for t in self.tenants)]

    def node(self, name: str) -> Node:
        """A node by name. Raises InvalidRequest that names the nodes there are."""
        for node in self.nodes():
            if node.name == name:
                return node
        known = [node.name for node in self.nodes()]
        raise InvalidRequest(f"there is no node '{name}': {', '.join(known[:12])}{' ...' if len(known) > 12 else ''}")

    def host(self, name: str) -> Host:
        """A host by name. Raises InvalidRequest."""
        if name not in self.hosts:
            raise InvalidRequest(f"there is no host '{name}': {', '.join(self.hosts)}")
        return self.hosts[name]

    def _begin(self, phase: Phase, detail: str = "") -> None:
        self.listen(events.PhaseBegan(at=time.monotonic(), phase=phase, detail=detail))

    def _progress(self, phase: Phase, done: int, total: int) -> None:
        self.listen(events.Progressed(at=time.monotonic(), phase=phase, done=done, total=total))


def _has_routers(drain: Item) -> bool:
    return bool(drain["admin_state_up"] or drain["routers"] or drain["leaving"] or drain["on_their_way"])


async def _each(hosts: Iterable[Host], action: Callable[[Host], Awaitable[None]]) -> None:
    """Do it for all of them, some at once."""
    limit = asyncio.Semaphore(HOSTS_AT_ONCE)

    async def one(host: Host) -> None:
        async with limit:
            await action(host)

    async with asyncio.TaskGroup() as group:
        for host in hosts:
            group.create_task(one(host))

"""Routers that are broken from inside, one detail each: what no watcher of processes would ever see."""

import asyncio
import json
import signal
from abc import abstractmethod
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from gapless.errors import Unavailable
from gapless.lab.faults.base import HARMLESS, MARGIN_S, Fault, in_mode
from gapless.lab.faults.processes import signal_agent
from gapless.lab.findings.expect import Expected, Gap, Moves
from gapless.lab.lab import Lab
from gapless.lab.machines import shell
from gapless.lab.machines.nodes import Host

_REPAIRED = Expected(gap=Gap.REPAIR, moves=Moves.NONE)
TENANT_PREFIX = "qr-"
GATEWAY_PREFIX = "qg-"


class _Namespace(Fault):
    """Strikes every router of the host."""

    expected = in_mode(reschedule=_REPAIRED, standby=_REPAIRED)

    def hold_s(self, liveness: object) -> float:
        """Traffic has to stay good for a while: a repair that undoes itself would show."""
        del liveness
        return MARGIN_S

    async def strike(self, lab: Lab) -> None:
        """Break each router, some at once."""
        del lab
        async with asyncio.TaskGroup() as group:
            for host in self.hosts:
                for router_id, path in host.machine.router_namespaces().items():
                    if self.routers is None or router_id in self.routers:
                        group.create_task(self.damage(host, router_id, path))

    @abstractmethod
    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Break one router; `path` is its namespace."""


async def _ip(path: Path, *words: str) -> str:
    return await shell.run("nsenter", f"--net={path}", "--", "ip", *words)


async def _tap(path: Path) -> str:
    return "tap" + (await _interface(path, TENANT_PREFIX)).removeprefix(TENANT_PREFIX)


async def _interface(path: Path, prefix: str) -> str:
    links = json.loads(await _ip(path, "-json", "link", "show"))
    return str(next(link["ifname"] for link in links if link["ifname"].startswith(prefix)))


class NamespaceDeleted(_Namespace):
    """`ip netns delete`, as somebody who tidies up might: the agent holds them, and gives them their names again."""

    name: ClassVar[str] = "namespace-deleted"
    summary = "a host's router namespaces are deleted by hand"
    expected = HARMLESS

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Delete it. `ip` unmounts it, then removes the file; a quicker agent has mounted a new one there meanwhile."""
        del path
        try:
            await host.machine.run("ip", "netns", "delete", f"qrouter-{router_id}")
        except Unavailable as error:
            if "Device or resource busy" not in str(error):
                raise


class LinkDown(_Namespace):
    """The tenant's interface is set down."""

    name: ClassVar[str] = "namespace-link-down"
    summary = "the tenant interface of a host's routers is set down"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Set it down."""
        del host, router_id
        await _ip(path, "link", "set", await _interface(path, TENANT_PREFIX), "down")


class AddressRemoved(_Namespace):
    """The tenant interface loses its address."""

    name: ClassVar[str] = "namespace-address-removed"
    summary = "the tenant interface of a host's routers loses its address"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Remove it."""
        del host, router_id
        await _ip(path, "-4", "address", "flush", "dev", await _interface(path, TENANT_PREFIX))


class RulesFlushed(_Namespace):
    """`nft flush ruleset` in the namespace: no SNAT, no floating IPs."""

    name: ClassVar[str] = "namespace-rules-flushed"
    summary = "the NAT rules of a host's routers are flushed"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Flush them."""
        del host, router_id
        await shell.run("nsenter", f"--net={path}", "--", "nft", "flush", "ruleset")


class RulesAsleep(_Namespace):
    """The table is still there, and dormant: its rules are not looked at."""

    name: ClassVar[str] = "namespace-rules-asleep"
    summary = "the NAT rules of a host's routers are put to sleep"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Put them to sleep."""
        del host, router_id
        await shell.run("nsenter", f"--net={path}", "--", "nft", "add table ip gapless { flags dormant; }")


class RulesAltered(_Namespace):
    """A rule drops what it let pass, and is called what it was called: who reads comments sees nothing."""

    name: ClassVar[str] = "namespace-rules-altered"
    summary = "a rule of a host's routers is altered under its own comment, so that nothing is forwarded"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Replace the first rule that what is forwarded meets."""
        del host, router_id
        inside = ("nsenter", f"--net={path}", "--", "nft")
        shown = await shell.run(*inside, "-a", "list", "chain", "ip", "gapless", "forward")
        rule = next(line for line in shown.splitlines() if " comment " in line)
        comment, _, handle = rule.partition(" comment ")[2].partition(" # handle ")
        await shell.run(*inside, f"replace rule ip gapless forward handle {handle} drop comment {comment}")


class RoutingRulesFlushed(_Namespace):
    """`ip rule flush` in the namespace: its routes are there, and nothing leads to them."""

    name: ClassVar[str] = "namespace-routing-rules-flushed"
    summary = "the routing rules of a host's routers are flushed"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Flush them."""
        del host, router_id
        await _ip(path, "rule", "flush")


class ForwardingOff(_Namespace):
    """`sysctl net.ipv4.ip_forward=0` in the namespace."""

    name: ClassVar[str] = "namespace-forwarding-off"
    summary = "forwarding is switched off in a host's routers"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Switch it off."""
        del host, router_id
        await shell.run("nsenter", f"--net={path}", "--", "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")


class LinkDeleted(_Namespace):
    """The tenant's interface is deleted, and its tap with it."""

    name: ClassVar[str] = "namespace-link-deleted"
    summary = "the tenant interface of a host's routers is deleted"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Delete it."""
        del host, router_id
        await _ip(path, "link", "delete", await _interface(path, TENANT_PREFIX))


class TapUnplugged(_Namespace):
    """The host's end of the tenant interface is taken out of its bridge."""

    name: ClassVar[str] = "namespace-tap-unplugged"
    summary = "the taps of a host's routers are taken out of their tenants' bridges"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Unplug it."""
        del router_id
        await host.machine.run("ip", "link", "set", await _tap(path), "nomaster")


class RouteRemoved(_Namespace):
    """The default route is gone."""

    name: ClassVar[str] = "namespace-route-removed"
    summary = "the default route of a host's routers is removed"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Remove it."""
        del host, router_id
        await _ip(path, "route", "del", "default")


class Unrepairable(_Namespace):
    """Somebody's interface takes the place and the name of the tap: no repair on this host can help.

    The agent tries three times, within half a second, then the router leaves: a guarded one for its standby, a classic
    one to be built elsewhere. Of more than four on one host, the others follow some seconds later (ADR 24).
    """

    name: ClassVar[str] = "namespace-unrepairable"
    summary = (
        "foreign interfaces take the place of the taps of a host's routers, so that these cannot be repaired there"
    )
    expected = in_mode(
        reschedule=Expected(gap=Gap.RESCHEDULE, moves=Moves.STRUCK),
        standby=Expected(gap=Gap.SWITCHOVER, moves=Moves.STRUCK),
    )
    heals = True

    def __init__(self, hosts: "tuple[Host, ...] | list[Host]" = ()) -> None:
        super().__init__(hosts)
        self._foreign: list[tuple[Host, str]] = []

    async def strike(self, lab: Lab) -> None:
        """Break each router, while the hosts' agents stand still, and wait until all have left."""
        for host in self.hosts:
            await signal_agent(host, signal.SIGSTOP)
        try:
            await super().strike(lab)
        finally:
            for host in self.hosts:
                await signal_agent(host, signal.SIGCONT)
        await self.routers_left(lab)

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """One after another: the agent, which stands still meanwhile, would put the tap back at once."""
        del router_id
        tap = await _tap(path)
        await host.machine.run("ip", "-b", "-", given=f"link delete {tap}\nlink add {tap} type bridge\n")
        self._foreign.append((host, tap))

    async def heal(self, lab: Lab) -> None:
        """Take the foreign interfaces away."""
        del lab
        while self._foreign:
            host, tap = self._foreign.pop()
            await host.machine.run("ip", "link", "delete", tap)


class OneUnrepairable(Unrepairable):
    """One router that is active on the host, the first by its id; the others are its neighbours, and lose nothing."""

    name: ClassVar[str] = "namespace-unrepairable-one"
    summary = (
        "a foreign interface takes the place of a tap of one of a host's routers, so that it cannot be repaired there"
    )

    async def prepare(self, lab: Lab) -> None:
        """Choose it."""
        active = [router for router, hosts in (await lab.placement()).items() if set(hosts) & set(self.names)]
        self.routers = frozenset(sorted(active)[:1])


class NamespaceBroken(_Namespace):
    """Each router of the host is broken in another of the five ways, in turn."""

    name: ClassVar[str] = "namespace-broken"
    summary = "a host's routers are broken from inside, in five ways in turn"

    def __init__(self, hosts: "tuple[Host, ...] | list[Host]" = ()) -> None:
        super().__init__(hosts)
        kinds = (NamespaceDeleted, LinkDown, AddressRemoved, RulesFlushed, RouteRemoved)
        self._ways = cycle([kind(self.hosts) for kind in kinds])

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Break it in the next way."""
        await next(self._ways).damage(host, router_id, path)

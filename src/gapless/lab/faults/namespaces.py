"""Routers that are broken from inside, one detail each: what no watcher of processes would ever see."""

import asyncio
import json
from abc import abstractmethod
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from gapless.errors import Unavailable
from gapless.lab import shell
from gapless.lab.expect import Expected, Gap, Moves
from gapless.lab.faults.base import MARGIN_S, Fault, in_mode
from gapless.lab.lab import Lab
from gapless.lab.nodes import Host

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
                    group.create_task(self.damage(host, router_id, path))

    @abstractmethod
    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Break one router; `path` is its namespace."""


async def _ip(path: Path, *words: str) -> str:
    return await shell.run("nsenter", f"--net={path}", "--", "ip", *words)


async def _interface(path: Path, prefix: str) -> str:
    links = json.loads(await _ip(path, "-json", "link", "show"))
    return str(next(link["ifname"] for link in links if link["ifname"].startswith(prefix)))


class NamespaceDeleted(_Namespace):
    """`ip netns delete`, as somebody who tidies up might."""

    name: ClassVar[str] = "namespace-deleted"
    summary = "a host's router namespaces are deleted by hand"

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


class RouteRemoved(_Namespace):
    """The default route is gone."""

    name: ClassVar[str] = "namespace-route-removed"
    summary = "the default route of a host's routers is removed"

    async def damage(self, host: Host, router_id: str, path: Path) -> None:
        """Remove it."""
        del host, router_id
        await _ip(path, "route", "del", "default")


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

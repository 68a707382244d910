"""Where routers really are: by looking into the hosts' namespaces, not by asking who should know."""

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from gapless.errors import Unavailable
from gapless.lab import shell
from gapless.lab.nodes import Host
from gapless.lab.tenants import Tenant

AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Sighting:
    """A router's namespace on a host, with the addresses on interfaces that are up."""

    router_id: str
    host: str
    addresses: frozenset[IPv4Address]


async def look(hosts: Iterable[Host]) -> list[Sighting]:
    """Every router namespace on every host that has power."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(host: Host, router_id: str, path: Path) -> Sighting:
        async with limit:
            return Sighting(router_id, host.name, await _addresses(path))

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(one(host, router_id, path))
            for host in hosts
            for router_id, path in host.machine.router_namespaces().items()
        ]
    return [task.result() for task in tasks]


async def _addresses(path: Path) -> frozenset[IPv4Address]:
    try:
        printed = await shell.run("nsenter", f"--net={path}", "--", "ip", "-json", "-4", "address", "show", "up")
    except Unavailable:
        if await asyncio.to_thread(path.exists):
            raise
        return frozenset()  # it was removed while we looked
    # Older versions of ip print an empty object for each interface that the filter leaves out.
    return frozenset(
        IPv4Address(address["local"]) for link in json.loads(printed or "[]") for address in link.get("addr_info", ())
    )


def hosts_of(tenant: Tenant, sightings: Iterable[Sighting]) -> list[str]:
    """The hosts on which a tenant's router has any of its addresses."""
    return [
        seen.host
        for seen in sightings
        if seen.router_id == tenant.router_id and seen.addresses & tenant.router_addresses
    ]


def placement(tenants: Sequence[Tenant], sightings: Sequence[Sighting]) -> dict[str, list[str]]:
    """Router id -> the hosts that it is active on."""
    return {tenant.router_id: hosts_of(tenant, sightings) for tenant in tenants}


def problems(
    tenants: Sequence[Tenant],
    sightings: Sequence[Sighting],
    active: Mapping[str, Collection[str]],
    others: Collection[str] = (),
) -> list[str]:
    """What is wrong, a sentence each: a router nowhere, on two hosts, half there, or one that nobody asked for.

    `active`: router id -> the hosts that it is active on; those that it is built on may be more. `others`: routers that
    somebody else asked for, about whom nothing is said.
    """
    wrong = []
    for tenant in tenants:
        hosts = active[tenant.router_id]
        if len(hosts) != 1:
            wrong.append(f"{tenant.router_name} ({tenant.router_id}) is active on {', '.join(hosts) or 'no host'}")
        sighted = [one for one in sightings if one.router_id == tenant.router_id and one.host in hosts]
        seen = {address for one in sighted for address in one.addresses}
        if hosts and (missing := tenant.router_addresses - seen):
            wrong.append(f"{tenant.router_name} ({tenant.router_id}) lacks {', '.join(map(str, sorted(missing)))}")
    known = {*(tenant.router_id for tenant in tenants), *others}
    wrong += [
        f"{seen.host} has a router that nobody asked for: {seen.router_id}"
        for seen in sightings
        if seen.router_id not in known
    ]
    return wrong

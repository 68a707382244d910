"""Where routers really are: by looking into the hosts' namespaces, not by asking who should know."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from gapless.errors import Unavailable
from gapless.lab.machines import addresses, netns
from gapless.lab.machines.nodes import Host
from gapless.lab.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Sighting:
    """A router's namespace on a host, with the addresses on interfaces that are up."""

    router_id: str
    host: str
    addresses: frozenset[IPv4Address]


async def look(hosts: Iterable[Host]) -> list[Sighting]:
    """Every router namespace on every host that has power."""
    places = [(host.name, *found) for host in hosts for found in host.machine.router_namespaces().items()]
    return await asyncio.to_thread(lambda: [Sighting(it, host, _addresses(path)) for host, it, path in places])


def _addresses(path: Path) -> frozenset[IPv4Address]:
    try:
        return addresses.up_in(path)
    except OSError as error:
        if netns.is_there(path):
            raise Unavailable(f"{path} cannot be looked into: {error.strerror}") from error
        return frozenset()  # it was removed while we looked


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

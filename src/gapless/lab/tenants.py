"""Tenants: a network, a subnet, a router with a gateway, a VM with two addresses, and a floating IP for one of them.

Everything is asked for through the API, as users do. The VM's first address has the floating IP and answers the probe
from outside; its second has none, so what it sends leaves through the router's SNAT. Every tenant uses the same
addresses.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from gapless.config import VXLAN_PORT, HostSettings
from gapless.lab.api import Api, Item
from gapless.lab.machines import layout, netns, shell
from gapless.lab.measuring.probes import Direction, Flow
from gapless.lab.settings import MOST_PROBED
from gapless.model.router import FailoverMode

NAMESPACES_AT_ONCE = 4
BATCH = 25
"""Tenants that are asked for together."""
BATCHES_AT_ONCE = 2
ROUTER_INTERFACE, ROUTER_GATEWAY = "network:router_interface", "network:router_gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One tenant as the API made it."""

    number: int
    router_id: str
    router_name: str
    network_id: str
    vni: int
    mtu: int
    vm_port_id: str
    vm_mac: str
    vm_addresses: tuple[IPv4Address, IPv4Address]
    """With a floating IP; without."""
    subnet_gateway: IPv4Address
    gateway_address: IPv4Address
    """The router's own on the external network: what SNAT shows."""
    floating_address: IPv4Address

    @property
    def vm(self) -> str:
        """The VM's node name."""
        return f"vm-{self.number}"

    @property
    def router_addresses(self) -> frozenset[IPv4Address]:
        """The addresses by which its router is recognised in a namespace."""
        return frozenset({self.subnet_gateway, self.gateway_address})

    def flows(self) -> tuple[Flow, Flow]:
        """Its two probes: out through SNAT, and in to the floating IP."""
        far = str(layout.FAR_OUTSIDE)
        outward = Flow(
            router_id=self.router_id,
            direction=Direction.OUT,
            netns=self.vm,
            source=str(self.vm_addresses[1]),
            target=far,
        )
        inward = Flow(
            router_id=self.router_id,
            direction=Direction.IN,
            netns=layout.OUTSIDE,
            source=far,
            target=str(self.floating_address),
        )
        return outward, inward


def probed(tenants: Sequence[Tenant], most: int = MOST_PROBED, *, one_way: bool = False) -> list[Flow]:
    """Both flows of each tenant. Of more than `most`, a sample spread over all, out and in by turns: fine probes
    through some routers say more than coarse ones through all. `one_way`: by turns also where all are probed.
    """
    if len(tenants) <= most and not one_way:
        return [flow for tenant in tenants for flow in tenant.flows()]
    count = min(most, len(tenants))
    chosen = [tenants[number * len(tenants) // count] for number in range(count)]
    return [tenant.flows()[number % 2] for number, tenant in enumerate(chosen)]


async def external_network(api: Api) -> str:
    """Create the external network and its subnet; the network's id."""
    network = await api.create(
        "network",
        name="public",
        **{
            "router:external": True,
            "provider:network_type": "flat",
            "provider:physical_network": layout.PHYSICAL_NETWORK,
        },
    )
    await api.create(
        "subnet",
        name="public-v4",
        network_id=network["id"],
        ip_version=4,
        cidr=str(layout.EXTERNAL_NET),
        gateway_ip=str(layout.EXTERNAL_GATEWAY.ip),
        enable_dhcp=False,
    )
    return str(network["id"])


async def create(
    api: Api, external_id: str, numbers: Sequence[int], mode: FailoverMode, made: Callable[[Sequence[Tenant]], None]
) -> list[Tenant]:
    """Create tenants, some at once; `made` is given those that are done."""
    limit = asyncio.Semaphore(BATCHES_AT_ONCE)
    every: list[list[Tenant]] = []

    async def some(numbers: Sequence[int], batch: list[Tenant]) -> None:
        async with limit:
            batch += await _create_some(api, external_id, numbers, mode)
        made(batch)

    async with asyncio.TaskGroup() as group:
        for at in range(0, len(numbers), BATCH):
            every.append([])
            group.create_task(some(numbers[at : at + BATCH], every[-1]))
    return [tenant for batch in every for tenant in batch]


async def _create_some(api: Api, external_id: str, numbers: Sequence[int], mode: FailoverMode) -> list[Tenant]:
    """One request for all resources of a kind, which costs the controller less than one for each."""
    names = [f"{number:03d}" for number in numbers]
    networks = await api.create_all("network", [{"name": f"net-{name}"} for name in names])
    ids = [network["id"] for network in networks]
    subnets = await api.create_all(
        "subnet",
        [
            {"name": f"sub-{name}", "network_id": network_id, "ip_version": 4, "cidr": str(layout.TENANT_NET)}
            for name, network_id in zip(names, ids, strict=True)
        ],
    )
    gateway = {"external_gateway_info": {"network_id": external_id}, "failover_mode": str(mode)}
    routers = await api.create_all("router", [{"name": f"router-{name}"} | gateway for name in names])
    async with asyncio.TaskGroup() as group:
        for router, subnet in zip(routers, subnets, strict=True):
            group.create_task(api.add_interface(router["id"], subnet_id=subnet["id"]))
    ports = await api.create_all("port", [_vm_port(name, subnet) for name, subnet in zip(names, subnets, strict=True)])
    floating_ips = await api.create_all(
        "floatingip",
        [
            {
                "floating_network_id": external_id,
                "port_id": port["id"],
                "fixed_ip_address": port["fixed_ips"][0]["ip_address"],
            }
            for port in ports
        ],
    )
    made = zip(numbers, networks, subnets, routers, ports, floating_ips, strict=True)
    return [_tenant(*resources) for resources in made]


def _vm_port(name: str, subnet: Item) -> Item:
    return {
        "name": f"vm-{name}",
        "network_id": subnet["network_id"],
        "fixed_ips": [{"subnet_id": subnet["id"]}] * 2,
        "device_owner": "compute:nova",
        "device_id": f"vm-{name}",
        "binding:host_id": layout.COMPUTE,
    }


def _tenant(number: int, network: Item, subnet: Item, router: Item, port: Item, floating: Item) -> Tenant:
    with_floating, without = (IPv4Address(fixed["ip_address"]) for fixed in port["fixed_ips"])
    return Tenant(
        number=number,
        router_id=router["id"],
        router_name=router["name"],
        network_id=network["id"],
        vni=network["provider:segmentation_id"],
        mtu=network["mtu"],
        vm_port_id=port["id"],
        vm_mac=port["mac_address"],
        vm_addresses=(with_floating, without),
        subnet_gateway=IPv4Address(subnet["gateway_ip"]),
        gateway_address=IPv4Address(router["external_gateway_info"]["external_fixed_ips"][0]["ip_address"]),
        floating_address=IPv4Address(floating["floating_ip_address"]),
    )


async def macs(api: Api, tenants: Sequence[Tenant]) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """The ports of these tenants' routers: MAC address on the external network -> router id, and VNI of a tenant's
    network -> MAC address in there -> router id.
    """
    tenant_of = {tenant.router_id: tenant for tenant in tenants}
    outside = {
        port["mac_address"]: port["device_id"]
        for port in await api.find("port", device_owner=ROUTER_GATEWAY)
        if port["device_id"] in tenant_of
    }
    inside: dict[int, dict[str, str]] = {}
    for port in await api.find("port", device_owner=ROUTER_INTERFACE):
        if tenant := tenant_of.get(port["device_id"]):
            inside.setdefault(tenant.vni, {})[port["mac_address"]] = tenant.router_id
    return outside, inside


async def plug_in_vms(tenants: Sequence[Tenant]) -> None:
    """Make each tenant's segment on the compute node, and a VM on it with the addresses that its port got."""
    for tenant in tenants:
        await asyncio.to_thread(netns.create, tenant.vm)
    inside = ["nsenter", f"--net={netns.path_of(layout.COMPUTE)}", "--"]
    await shell.ip([line for tenant in tenants for line in _segment(tenant)], inside=inside)
    limit = asyncio.Semaphore(NAMESPACES_AT_ONCE)

    async def configure(tenant: Tenant) -> None:
        async with limit:
            inside = ["nsenter", f"--net={netns.path_of(tenant.vm)}", "--"]
            await shell.ip(_vm(tenant), inside=inside)

    async with asyncio.TaskGroup() as group:
        for tenant in tenants:
            group.create_task(configure(tenant))


def _segment(tenant: Tenant) -> list[str]:
    """On the compute node: a bridge with the network's VXLAN device and the VM's tap."""
    bridge, vxlan, tap = f"br-{tenant.number}", f"vx-{tenant.number}", f"tap-{tenant.number}"
    group = HostSettings.__dataclass_fields__["vxlan_group"].default
    return [
        f"link add {bridge} mtu {tenant.mtu} type bridge mcast_snooping 0 forward_delay 0",
        f"link add {vxlan} mtu {tenant.mtu} type vxlan id {tenant.vni} group {group} dev {layout.DATA.interface} "
        f"local {layout.COMPUTE_ADDRESS.ip} dstport {VXLAN_PORT}",
        f"link add {tap} mtu {tenant.mtu} type veth peer name eth0 mtu {tenant.mtu} address {tenant.vm_mac} "
        f"netns {tenant.vm}",
        f"link set {vxlan} master {bridge} up",
        f"link set {tap} master {bridge} up",
        f"link set {bridge} up",
    ]


def _vm(tenant: Tenant) -> list[str]:
    length = layout.TENANT_NET.prefixlen
    return [
        *(f"address add {address}/{length} dev eth0" for address in tenant.vm_addresses),
        "link set lo up",
        "link set eth0 up",
        f"route add default via {tenant.subnet_gateway}",
    ]

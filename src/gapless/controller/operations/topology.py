"""What a router is connected to, and what must not collide there: its subnets, and the next hop's address outside.

A router with overlapping subnets would have two ways to one address. So every subnet that it is about to be connected
to, inside or through its gateway's network, is compared with every one that it is connected to already. And whoever
took the address of the next hop outside would cut everybody off who is there.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gapless.controller.operations import faults
from gapless.controller.store.tables import NetworkRow, PortRow, RouterRow, SubnetRow


def check_new_subnets(router: RouterRow, new: Iterable[SubnetRow]) -> None:
    """Raises BadRequest if the router has one of these subnets already, or one that overlaps with it."""
    wanted = list(new)
    new_ids = {subnet.id for subnet in wanted}
    for subnet_id in _addressed(router):
        if subnet_id in new_ids:
            raise faults.BadRequest("router", f"Router already has a port on subnet {subnet_id}")
    for present in connected(router):
        for subnet in wanted:
            if subnet.cidr.overlaps(present.cidr):
                raise faults.BadRequest(
                    "router",
                    f"Cidr {subnet.cidr} of subnet {subnet.id} overlaps with cidr {present.cidr} "
                    f"of subnet {present.id}",
                )


def connected(router: RouterRow) -> Iterator[SubnetRow]:
    """The subnets that a router reaches directly: those of its interfaces, and all of its gateway's network."""
    for interface in router.ports:
        yield from subnets_of(interface.port)
    if router.gateway_port is not None:
        yield from router.gateway_port.network.subnets


def subnets_of(port: PortRow) -> list[SubnetRow]:
    """The subnets that a port has addresses of, once each, in the order of its addresses."""
    return list({address.subnet_id: address.subnet for address in port.addresses}.values())


def check_external_addresses(resource: str, network: NetworkRow, fixed_ips: Iterable[Mapping[str, Any]]) -> None:
    """Raises BadRequest if an address that is asked for, of an external network, is that of the next hop there."""
    gateways = {str(subnet.gateway_ip) for subnet in network.subnets if subnet.gateway_ip is not None}
    for fixed_ip in fixed_ips:
        if fixed_ip.get("ip_address") in gateways:
            raise faults.BadRequest(resource, f"External IP {fixed_ip['ip_address']} is the same as the gateway IP")


def _addressed(router: RouterRow) -> Iterator[str]:
    ports = [interface.port for interface in router.ports]
    if router.gateway_port is not None:
        ports.append(router.gateway_port)
    return (address.subnet_id for port in ports for address in port.addresses)

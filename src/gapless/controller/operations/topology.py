"""What a router is connected to, and the rule that no two of its subnets overlap.

A router with overlapping subnets would have two ways to one address. So every subnet that it is about to be connected
to, inside or through its gateway's network, is compared with every one that it is connected to already.
"""

from collections.abc import Iterable, Iterator

from gapless.controller.operations import faults
from gapless.controller.store.tables import PortRow, RouterRow, SubnetRow


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


def _addressed(router: RouterRow) -> Iterator[str]:
    ports = [interface.port for interface in router.ports]
    if router.gateway_port is not None:
        ports.append(router.gateway_port)
    return (address.subnet_id for port in ports for address in port.addresses)

"""What a subnet may look like: the checks of its values alone, without the store. Raises Neutron's refusals."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from gapless.controller.operations import faults
from gapless.controller.operations.ipam import parse_address
from gapless.controller.operations.views import Json
from gapless.core import addressing
from gapless.core.addressing import AddressRange

MAX_DNS_NAMESERVERS = 5
MAX_HOST_ROUTES = 20
"""Neutron's defaults of `max_dns_nameservers` and `max_subnet_host_routes`."""
LIMITED_BROADCAST = IPv4Address("255.255.255.255")
NO_IPV6 = "IPv6 subnets are not supported: use ip_version 4 and an IPv4 cidr"


def cidr(values: Json) -> IPv4Network:
    """The network of a new subnet, host bits taken off. Raises InvalidInput or BadRequest."""
    if values.get("subnetpool_id") or values.get("use_default_subnetpool"):
        raise faults.BadRequest("subnets", "subnet pools are not supported: give a cidr")
    text = values.get("cidr")
    if not text:
        raise faults.BadRequest("subnets", "a cidr must be specified in the absence of a subnet pool")
    if values.get("ip_version", 4) != 4:
        raise faults.InvalidInput(NO_IPV6)
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise faults.InvalidInput(f"'{text}' is not a valid CIDR") from error
    if isinstance(network, IPv6Network):
        raise faults.InvalidInput(NO_IPV6)
    if network.prefixlen == 0:
        raise faults.InvalidInput("0 is not allowed as CIDR prefix length")
    return network


def gateway(values: Json, cidr: IPv4Network) -> IPv4Address | None:
    """The gateway: the one given, None if given as None, else the default. Raises InvalidInput."""
    if "gateway_ip" not in values:
        return addressing.default_gateway(cidr)
    if not values["gateway_ip"]:
        return None
    address = _ipv4(values["gateway_ip"], "gateway_ip")
    if _never_a_neighbour(address) or (address in cidr and address not in addressing.usable(cidr)):
        raise faults.InvalidInput("Gateway is not valid on subnet")
    return address


def _never_a_neighbour(address: IPv4Address) -> bool:
    """Addresses that no machine can have on any network (RFC 6890), so nothing is sent by way of them."""
    return address.is_unspecified or address.is_multicast or address.is_loopback or address == LIMITED_BROADCAST


def pools(
    given: Sequence[Mapping[str, Any]] | None, cidr: IPv4Network, gateway: IPv4Address | None
) -> list[AddressRange]:
    """The allocation pools: those given, checked; else (None) everything but the gateway."""
    if given is None:
        return list(addressing.default_pools(cidr, gateway))
    ranges = [_pool(each) for each in given]
    outside = addressing.beyond(ranges, cidr)
    if outside is not None:
        raise faults.OutOfBoundsAllocationPool(outside, cidr)
    collision = addressing.colliding(ranges)
    if collision is not None:
        raise faults.OverlappingAllocationPools(*collision, cidr)
    check_gateway_outside(gateway, ranges)
    return ranges


def check_gateway_outside(gateway: IPv4Address | None, pools: Sequence[AddressRange]) -> None:
    """Raises GatewayConflictWithAllocationPools."""
    holding = None if gateway is None else addressing.holding(pools, gateway)
    if gateway is not None and holding is not None:
        raise faults.GatewayConflictWithAllocationPools(gateway, holding)


def check_dhcp(cidr: IPv4Network) -> None:
    """Whether a DHCP server could serve this network. Raises InvalidInput."""
    if cidr.prefixlen > 30:
        raise faults.InvalidInput("Subnet has a prefix length that is incompatible with DHCP service enabled")
    if cidr.is_multicast:
        raise faults.InvalidInput("Multicast IP subnet is not supported if enable_dhcp is True")
    if cidr.is_loopback:
        raise faults.InvalidInput("Loopback IP subnet is not supported if enable_dhcp is True")
    if int(cidr.network_address) == 0:
        raise faults.InvalidInput("First IP '0.0.0.0' of network is not supported if enable_dhcp is True.")


def check_extras(values: Json, subnet_id: str) -> None:
    """The name servers and host routes that machines are told of."""
    nameservers = values.get("dns_nameservers") or ()
    if len(nameservers) > MAX_DNS_NAMESERVERS:
        raise faults.DNSNameServersExhausted(subnet_id, MAX_DNS_NAMESERVERS)
    for server in nameservers:
        _ipv4(server, "dns_nameserver")
    routes = values.get("host_routes") or ()
    if len(routes) > MAX_HOST_ROUTES:
        raise faults.HostRoutesExhausted(subnet_id, MAX_HOST_ROUTES)
    for route in routes:
        _check_route(route)


def _pool(given: Mapping[str, Any]) -> AddressRange:
    try:
        return AddressRange.parse(given["start"], given["end"])
    except (KeyError, ValueError) as error:
        raise faults.InvalidAllocationPool(dict(given)) from error


def _check_route(route: Mapping[str, Any]) -> None:
    try:
        destination, nexthop = ip_network(route["destination"], strict=False), ip_address(route["nexthop"])
    except (KeyError, ValueError) as error:
        raise faults.InvalidInput(f"Invalid route: {dict(route)}") from error
    for name, value in (("nexthop", nexthop), ("destination", destination)):
        if value.version != 4:
            raise faults.InvalidInput(f"{name} '{value}' does not match the ip_version '4'")


def _ipv4(text: str, name: str) -> IPv4Address:
    try:
        address = ip_address(text)
    except ValueError:
        return parse_address(text)
    if isinstance(address, IPv6Address):
        raise faults.InvalidInput(f"{name} '{address}' does not match the ip_version '4'")
    return address

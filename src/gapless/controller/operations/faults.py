"""Refusals in Neutron's words: the class is named as Neutron's exception, the text is the one that its users know.

Clients compare `type` and people search for the message, so both are part of the interface. Which HTTP status
belongs to a refusal follows from who must act: InvalidRequest 400, NotFound 404, Conflict 409, Unavailable 503.
Source: neutron_lib/exceptions, neutron/ipam/exceptions.py.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from gapless.core.addressing import AddressRange
from gapless.errors import Conflict, InvalidRequest, NotFound, Unavailable

# The request cannot be carried out as it stands


class BadRequest(InvalidRequest):
    neutron_type = "BadRequest"

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"Bad {resource} request: {reason}.")


class InvalidInput(InvalidRequest):
    neutron_type = "InvalidInput"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Invalid input for operation: {reason}.")


class InvalidAllocationPool(InvalidRequest):
    neutron_type = "InvalidAllocationPool"

    def __init__(self, pool: object) -> None:
        super().__init__(f"The allocation pool {pool} is not valid.")


class OutOfBoundsAllocationPool(InvalidRequest):
    neutron_type = "OutOfBoundsAllocationPool"

    def __init__(self, pool: AddressRange, cidr: IPv4Network) -> None:
        super().__init__(f"The allocation pool {pool} spans beyond the subnet cidr {cidr}.")


class DNSNameServersExhausted(InvalidRequest):
    neutron_type = "DNSNameServersExhausted"

    def __init__(self, subnet_id: str, quota: int) -> None:
        super().__init__(
            f"Unable to complete operation for {subnet_id}. The number of DNS nameservers exceeds the limit {quota}."
        )


class HostRoutesExhausted(InvalidRequest):
    neutron_type = "HostRoutesExhausted"

    def __init__(self, subnet_id: str, quota: int) -> None:
        super().__init__(
            f"Unable to complete operation for {subnet_id}. The number of host routes exceeds the limit {quota}."
        )


class RoutesExhausted(InvalidRequest):
    neutron_type = "RoutesExhausted"

    def __init__(self, router_id: str, quota: int) -> None:
        super().__init__(
            f"Unable to complete operation for {router_id}. The number of routes exceeds the maximum {quota}."
        )


class InvalidIpForNetwork(InvalidRequest):
    neutron_type = "InvalidIpForNetwork"

    def __init__(self, address: IPv4Address) -> None:
        super().__init__(f"IP address {address} is not a valid IP for any of the subnets on the specified network.")


class InvalidIpForSubnet(InvalidRequest):
    neutron_type = "InvalidIpForSubnet"

    def __init__(self, address: IPv4Address) -> None:
        super().__init__(f"IP address {address} is not a valid IP for the specified subnet.")


class SubnetMismatchForPort(InvalidRequest):
    neutron_type = "SubnetMismatchForPort"

    def __init__(self, port_id: str, subnet_id: str) -> None:
        super().__init__(f"Subnet on port {port_id} does not match the requested subnet {subnet_id}.")


class InvalidRoutes(InvalidRequest):
    neutron_type = "InvalidRoutes"

    def __init__(self, routes: object, reason: str) -> None:
        super().__init__(f"Invalid input for operation: Invalid format for routes: {routes}, {reason}.")


# What the request names does not exist


class NetworkNotFound(NotFound):
    neutron_type = "NetworkNotFound"

    def __init__(self, network_id: str) -> None:
        super().__init__(f"Network {network_id} could not be found.")


class SubnetNotFound(NotFound):
    neutron_type = "SubnetNotFound"

    def __init__(self, subnet_id: str) -> None:
        super().__init__(f"Subnet {subnet_id} could not be found.")


class PortNotFound(NotFound):
    neutron_type = "PortNotFound"

    def __init__(self, port_id: str) -> None:
        super().__init__(f"Port {port_id} could not be found.")


class RouterNotFound(NotFound):
    neutron_type = "RouterNotFound"

    def __init__(self, router_id: str) -> None:
        super().__init__(f"Router {router_id} could not be found")


class FloatingIPNotFound(NotFound):
    neutron_type = "FloatingIPNotFound"

    def __init__(self, floating_ip_id: str) -> None:
        super().__init__(f"Floating IP {floating_ip_id} could not be found")


class RouterInterfaceNotFound(NotFound):
    neutron_type = "RouterInterfaceNotFound"

    def __init__(self, router_id: str, port_id: str) -> None:
        super().__init__(f"Router {router_id} does not have an interface with id {port_id}")


class RouterInterfaceNotFoundForSubnet(NotFound):
    neutron_type = "RouterInterfaceNotFoundForSubnet"

    def __init__(self, router_id: str, subnet_id: str) -> None:
        super().__init__(f"Router {router_id} has no interface on subnet {subnet_id}")


class ExternalGatewayForFloatingIPNotFound(NotFound):
    neutron_type = "ExternalGatewayForFloatingIPNotFound"

    def __init__(self, network_id: str, subnet_id: str, port_id: str) -> None:
        super().__init__(
            f"External network {network_id} is not reachable from subnet {subnet_id}.  "
            f"Therefore, cannot associate Port {port_id} with a Floating IP."
        )


class AvailabilityZoneNotFound(NotFound):
    neutron_type = "AvailabilityZoneNotFound"

    def __init__(self, availability_zone: str) -> None:
        super().__init__(f"AvailabilityZone {availability_zone} could not be found.")


# What the store holds stands in the way


class NetworkInUse(Conflict):
    neutron_type = "NetworkInUse"

    def __init__(self, network_id: str, port_ids: Iterable[str]) -> None:
        super().__init__(
            f"Unable to complete operation on network {network_id}. There are one or more ports still in use on the "
            f"network, id for these ports is: {','.join(port_ids)}."
        )


class NetworkMTUSubnetConflict(Conflict):
    neutron_type = "NetworkMTUSubnetConflict"

    def __init__(self, network_id: str, mtu: int) -> None:
        super().__init__(f"MTU of {network_id} is not valid, subnet requires a minimum of {mtu}")


class ExternalNetworkInUse(Conflict):
    neutron_type = "ExternalNetworkInUse"

    def __init__(self, network_id: str) -> None:
        super().__init__(
            f"External network {network_id} cannot be updated to be made non-external, "
            "since it has existing gateway ports."
        )


class InvalidSharedSetting(Conflict):
    neutron_type = "InvalidSharedSetting"

    def __init__(self, network: str) -> None:
        super().__init__(
            f"Unable to reconfigure sharing settings for network {network}. Multiple projects are using it."
        )


class TunnelIdInUse(Conflict):
    neutron_type = "TunnelIdInUse"

    def __init__(self, tunnel_id: int) -> None:
        super().__init__(f"Unable to create the network. The tunnel ID {tunnel_id} is in use.")


class FlatNetworkInUse(Conflict):
    neutron_type = "FlatNetworkInUse"

    def __init__(self, physical_network: str) -> None:
        super().__init__(f"Unable to create the flat network. Physical network {physical_network} is in use.")


class SubnetInUse(Conflict):
    neutron_type = "SubnetInUse"

    def __init__(self, subnet_id: str) -> None:
        super().__init__(
            f"Unable to complete operation on subnet {subnet_id}: "
            "One or more ports have an IP allocation from this subnet."
        )


class OverlappingAllocationPools(Conflict):
    neutron_type = "OverlappingAllocationPools"

    def __init__(self, one: AddressRange, other: AddressRange, cidr: IPv4Network) -> None:
        super().__init__(f"Found overlapping allocation pools: {one} {other} for subnet {cidr}.")


class GatewayConflictWithAllocationPools(Conflict):
    neutron_type = "GatewayConflictWithAllocationPools"

    def __init__(self, address: IPv4Address, pool: AddressRange) -> None:
        super().__init__(f"Gateway ip {address} conflicts with allocation pool {pool}.")


class GatewayIpInUse(Conflict):
    neutron_type = "GatewayIpInUse"

    def __init__(self, address: IPv4Address, port_id: str) -> None:
        super().__init__(f"Current gateway ip {address} already in use by port {port_id}. Unable to update.")


class MacAddressInUse(Conflict):
    neutron_type = "MacAddressInUse"

    def __init__(self, network_id: str, mac: str) -> None:
        super().__init__(f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.")


class IpAddressAlreadyAllocated(Conflict):
    neutron_type = "IpAddressAlreadyAllocated"

    def __init__(self, address: IPv4Address, subnet_id: str) -> None:
        super().__init__(f"IP address {address} already allocated in subnet {subnet_id}")


class IpAddressGenerationFailure(Conflict):
    neutron_type = "IpAddressGenerationFailure"

    def __init__(self, network_id: str) -> None:
        super().__init__(f"No more IP addresses available on network {network_id}.")


class PortInUse(Conflict):
    neutron_type = "PortInUse"

    def __init__(self, network_id: str, port_id: str, device_id: str) -> None:
        super().__init__(
            f"Unable to complete operation on port {port_id} for network {network_id}. "
            f"Port already has an attached device {device_id}."
        )


class PortBound(Conflict):
    neutron_type = "PortBound"

    def __init__(self, port_id: str, vif_type: str, old_mac: str, new_mac: str) -> None:
        super().__init__(
            f"Unable to complete operation on port {port_id}, port is already bound, port type: {vif_type}, "
            f"old_mac {old_mac}, new_mac {new_mac}."
        )


class ServicePortInUse(Conflict):
    neutron_type = "ServicePortInUse"

    def __init__(self, port_id: str, device_owner: str) -> None:
        super().__init__(
            f"Port {port_id} cannot be deleted directly via the port API: has device owner {device_owner}."
        )


class UnsupportedPortDeviceOwner(Conflict):
    neutron_type = "UnsupportedPortDeviceOwner"

    def __init__(self, operation: str, port_id: str, device_owner: str) -> None:
        super().__init__(f"Operation {operation} is not supported for device_owner {device_owner} on port {port_id}.")


class RouterInUse(Conflict):
    neutron_type = "RouterInUse"

    def __init__(self, router_id: str, port_ids: Iterable[str]) -> None:
        super().__init__(f"Router {router_id} has ports still attached: {', '.join(port_ids)}")


class RouterInterfaceInUseByFloatingIP(Conflict):
    neutron_type = "RouterInterfaceInUseByFloatingIP"

    def __init__(self, router_id: str, subnet_id: str) -> None:
        super().__init__(
            f"Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, "
            "as it is required by one or more floating IPs."
        )


class RouterInterfaceInUseByRoute(Conflict):
    neutron_type = "RouterInterfaceInUseByRoute"

    def __init__(self, router_id: str, subnet_id: str) -> None:
        super().__init__(
            f"Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, "
            "as it is required by one or more routes."
        )


class RouterExternalGatewayInUseByFloatingIp(Conflict):
    neutron_type = "RouterExternalGatewayInUseByFloatingIp"

    def __init__(self, router_id: str, network_id: str) -> None:
        super().__init__(
            f"Gateway cannot be updated for router {router_id}, since a gateway to external network {network_id} "
            "is required by one or more floating IPs."
        )


class FloatingIPPortAlreadyAssociated(Conflict):
    neutron_type = "FloatingIPPortAlreadyAssociated"

    def __init__(
        self, *, floating_ip: IPv4Address, floating_ip_id: str, port_id: str, fixed_ip: IPv4Address, network_id: str
    ) -> None:
        super().__init__(
            f"Cannot associate floating IP {floating_ip} ({floating_ip_id}) with port {port_id} using fixed IP "
            f"{fixed_ip}, as that fixed IP already has a floating IP on external network {network_id}."
        )


# Nothing is left to give out


class NoNetworkAvailable(Unavailable):
    neutron_type = "NoNetworkAvailable"

    def __init__(self) -> None:
        super().__init__("Unable to create the network. No project network is available for allocation.")


class NetworkMacAddressGenerationFailure(Unavailable):
    neutron_type = "MacAddressGenerationFailure"

    def __init__(self, network_id: str) -> None:
        super().__init__(f"Unable to generate unique mac on network {network_id}.")

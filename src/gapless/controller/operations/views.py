"""Rows as Neutron shows them: dicts of its attribute names and JSON values. Nothing here decides anything.

Rows come with what they need loaded (see `lookup`), so showing a thousand of them asks the store for nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gapless.controller.store.tables import (
    AddressRow,
    BindingRow,
    FloatingIpRow,
    NetworkRow,
    PortRow,
    RouterRow,
    SubnetRow,
    Timestamped,
)

Json = dict[str, Any]
ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"
FLOATING_IP = "network:floatingip"
ROUTER_OWNERS = (ROUTER_INTERFACE, ROUTER_GATEWAY)
DEFAULT_ZONE = "nova"


def network(row: NetworkRow) -> Json:
    """A network, with the ids of its subnets."""
    return {
        **_standard(row),
        "status": "ACTIVE",
        "admin_state_up": row.admin_state_up,
        "shared": row.shared,
        "router:external": row.external,
        "is_default": False,
        "mtu": row.mtu,
        "provider:network_type": row.network_type,
        "provider:physical_network": row.physical_network,
        "provider:segmentation_id": row.segmentation_id,
        "subnets": [subnet.id for subnet in row.subnets],
        "availability_zone_hints": [],
        "availability_zones": [],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
    }


def subnet(row: SubnetRow) -> Json:
    """A subnet, with its pools."""
    return {
        **_standard(row),
        "network_id": row.network_id,
        "ip_version": 4,
        "cidr": str(row.cidr),
        "gateway_ip": None if row.gateway_ip is None else str(row.gateway_ip),
        "allocation_pools": [{"start": str(pool.first), "end": str(pool.last)} for pool in row.pools],
        "dns_nameservers": list(row.dns_nameservers),
        "host_routes": list(row.host_routes),
        "enable_dhcp": row.enable_dhcp,
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "subnetpool_id": None,
        "service_types": [],
        "router:external": row.network.external,
    }


def port(row: PortRow, router_hosts: Mapping[str, str]) -> Json:
    """A port. `router_hosts`: the host that each router is bound to, because its ports are where it is."""
    is_routers = row.device_owner in ROUTER_OWNERS
    host = router_hosts.get(row.device_id, "") if is_routers else row.binding_host
    return {
        **_standard(row),
        "network_id": row.network_id,
        "mac_address": row.mac_address,
        "fixed_ips": [_fixed_ip(address) for address in row.addresses],
        "admin_state_up": row.admin_state_up,
        "status": _port_status(row, host),
        "device_id": row.device_id,
        "device_owner": row.device_owner,
        "binding:host_id": host,
        "binding:vif_type": vif_type(host),
        "binding:vif_details": {},
        "binding:vnic_type": "normal",
        "binding:profile": {},
        "allowed_address_pairs": [],
        "extra_dhcp_opts": [],
        "security_groups": [],
        "port_security_enabled": False,
    }


def router(row: RouterRow, zones: Mapping[str, str]) -> Json:
    """A router. `zones`: the availability zone of each host."""
    return {
        **_standard(row),
        "status": "ACTIVE",
        "admin_state_up": row.admin_state_up,
        "external_gateway_info": _gateway(row),
        "routes": [{"destination": str(route.destination), "nexthop": str(route.nexthop)} for route in row.routes],
        "ha": row.ha,
        "distributed": False,
        "failover_mode": row.failover_mode,
        "flavor_id": None,
        "availability_zone_hints": list(row.availability_zone_hints),
        "availability_zones": _zones_of(row.binding, zones),
    }


def _zones_of(binding: BindingRow | None, zones: Mapping[str, str]) -> list[str]:
    """Where the router is, active or standing by."""
    hosts = [] if binding is None else [binding.host, *(each["host"] for each in binding.successors)]
    return sorted({zones.get(host, DEFAULT_ZONE) for host in hosts})


def floating_ip(row: FloatingIpRow) -> Json:
    """A floating IP; active while a router carries it."""
    standard = _standard(row)
    del standard["name"]  # floating IPs have none
    return {
        **standard,
        "floating_network_id": row.network_id,
        "floating_ip_address": str(row.floating_port.addresses[0].address),
        "router_id": row.router_id,
        "port_id": row.port_id,
        "fixed_ip_address": None if row.fixed_address is None else str(row.fixed_address),
        "status": "DOWN" if row.router_id is None else "ACTIVE",
        "port_details": None if row.port is None else _port_details(row.port),
        "port_forwardings": [],
    }


def router_interface(router_id: str, port: PortRow, subnet_ids: list[str]) -> Json:
    """What adding or removing an interface answers."""
    return {
        "id": router_id,
        "tenant_id": port.project_id,
        "project_id": port.project_id,
        "port_id": port.id,
        "network_id": port.network_id,
        "subnet_id": subnet_ids[-1],
        "subnet_ids": subnet_ids,
        "tags": [],
    }


def vif_type(host: str) -> str:
    """How a port is plugged in on its host."""
    return "bridge" if host else "unbound"


def time(value: datetime) -> str:
    """A point in time as Neutron writes it: UTC, whole seconds."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _standard(row: Timestamped) -> Json:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "project_id": row.project_id,
        "tenant_id": row.project_id,
        "tags": [],
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        "revision_number": row.revision_number,
    }


def _fixed_ip(row: AddressRow) -> Json:
    return {"subnet_id": row.subnet_id, "ip_address": str(row.address)}


def _gateway(row: RouterRow) -> Json | None:
    if row.gateway_port is None:
        return None
    return {
        "network_id": row.gateway_port.network_id,
        "enable_snat": row.enable_snat,
        "external_fixed_ips": [_fixed_ip(address) for address in row.gateway_port.addresses],
    }


def _port_status(row: PortRow, host: str) -> str:
    if row.device_owner == FLOATING_IP:
        return "N/A"  # it stands for an address, and is plugged into nothing
    return "ACTIVE" if host else "DOWN"


def _port_details(row: PortRow) -> Json:
    return {
        "name": row.name,
        "network_id": row.network_id,
        "mac_address": row.mac_address,
        "admin_state_up": row.admin_state_up,
        "status": _port_status(row, row.binding_host),
        "device_id": row.device_id,
        "device_owner": row.device_owner,
    }

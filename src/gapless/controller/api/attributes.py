"""The attribute map: what Neutron's resources consist of, and what may be done with each attribute.

This table is the whole of the API's knowledge about single resources. The handlers in `resources.py` and the filters in
`queries.py` are driven by it, so a new attribute is a new line here and nothing else on this side; what a value *means*
is the business of `controller/operations`.

The idea is Neutron's own (`neutron_lib.api.definitions`). `tenant_id`, the old name of `project_id`, is not in the map:
whatever is `owned` takes it in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gapless.controller.api import validators as v
from gapless.model.network import NetworkType
from gapless.model.router import FailoverMode


class _Marker:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


REQUIRED: Final = _Marker("REQUIRED")
"""Default of an attribute that a POST must carry."""
ABSENT: Final = _Marker("ABSENT")
"""Default of an attribute that operations choose themselves when a POST does not carry it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """What may be done with one attribute. Read-only and visible, unless said otherwise."""

    check: v.Validator = v.anything
    post: bool = False
    put: bool = False
    default: Any = ABSENT
    visible: bool = True
    filters: bool = True
    sorts: bool = True
    since: str = ""
    """For what is a filter alone: the attribute that must be a time not before this one."""
    meant: bool = True
    """False where the only value accepted says no to a feature that does not exist: nothing to tell operations."""


def absent_switch(feature: str) -> Attribute:
    """A switch of a feature that Gapless does not have: it may be sent as false, and reads as false."""
    return Attribute(check=v.only_false(feature), post=True, put=True, meant=False)


def absent_value(feature: str) -> Attribute:
    """A value of a feature that Gapless does not have: it may be sent empty, and reads as empty."""
    return Attribute(check=v.only_empty(feature), post=True, put=True, meant=False, filters=False, sorts=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of resource: its names in paths and bodies, and its attributes.

    The rest is derived once, so that a request costs a few look-ups.
    """

    name: str
    collection: str
    attributes: Mapping[str, Attribute]
    owned: bool = True
    """Whether it has a project."""
    paged_by: str = "id"
    """The attribute that tells each from all others, which markers of pages are values of."""
    postable: frozenset[str] = field(init=False)
    putable: frozenset[str] = field(init=False)
    required: tuple[str, ...] = field(init=False)
    defaults: Mapping[str, Any] = field(init=False)
    hidden: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        items = self.attributes.items()
        derived = {
            "postable": frozenset(key for key, attribute in items if attribute.post),
            "putable": frozenset(key for key, attribute in items if attribute.put),
            "required": tuple(key for key, attribute in items if attribute.default is REQUIRED),
            "defaults": {
                key: attribute.default
                for key, attribute in items
                if attribute.post and not isinstance(attribute.default, _Marker)
            },
            "hidden": frozenset(key for key, attribute in items if not attribute.visible),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


READ_ONLY = Attribute()
UNSORTED = Attribute(sorts=False)
UNFILTERED = Attribute(filters=False, sorts=False)
ADMIN_STATE_UP = Attribute(check=v.boolean, post=True, put=True, default=True)
PARENT = Attribute(check=v.uuid, post=True, default=REQUIRED)

STANDARD: Mapping[str, Attribute] = {
    "id": Attribute(check=v.uuid),
    "name": Attribute(check=v.name, post=True, put=True, default=""),
    "description": Attribute(check=v.text(v.DESCRIPTION_MAX), post=True, put=True, default=""),
    "project_id": Attribute(check=v.text(v.PROJECT_ID_MAX), post=True, default=""),
    "created_at": READ_ONLY,
    "updated_at": READ_ONLY,
    "changed_since": Attribute(check=v.time_for("changed_since"), visible=False, sorts=False, since="updated_at"),
    "revision_number": READ_ONLY,
    "tags": UNFILTERED,
}
"""What every Neutron resource has."""

NETWORK = Resource(
    name="network",
    collection="networks",
    attributes={
        **STANDARD,
        "admin_state_up": ADMIN_STATE_UP,
        "status": READ_ONLY,
        "shared": Attribute(check=v.boolean, post=True, put=True, default=False),
        "router:external": Attribute(check=v.boolean, post=True, put=True, default=False),
        "is_default": absent_switch("a default external network"),
        "mtu": Attribute(check=v.none_for(0, v.integer(68, 65_535)), post=True, put=True),
        "provider:network_type": Attribute(check=v.one_of(*(str(each) for each in NetworkType)), post=True, put=True),
        "provider:physical_network": Attribute(check=v.or_none(v.non_empty_text(64)), post=True, put=True),
        "provider:segmentation_id": Attribute(check=v.or_none(v.integer(1, 16_777_215)), post=True, put=True),
        "subnets": UNFILTERED,
        "availability_zone_hints": absent_value("scheduling of networks"),
        "availability_zones": UNFILTERED,
        "ipv4_address_scope": UNFILTERED,
        "ipv6_address_scope": UNFILTERED,
    },
)

SUBNET = Resource(
    name="subnet",
    collection="subnets",
    attributes={
        **STANDARD,
        "network_id": PARENT,
        "ip_version": Attribute(check=v.one_of(4, 6), post=True, default=REQUIRED),
        "cidr": Attribute(check=v.subnet, post=True, default=REQUIRED),
        "gateway_ip": Attribute(check=v.or_none(v.ip_address), post=True, put=True),
        "allocation_pools": Attribute(check=v.allocation_pools, post=True, put=True, filters=False, sorts=False),
        "dns_nameservers": Attribute(
            check=v.empty_for_none(v.nameservers), post=True, put=True, default=(), filters=False, sorts=False
        ),
        "host_routes": Attribute(
            check=v.empty_for_none(v.routes), post=True, put=True, default=(), filters=False, sorts=False
        ),
        "enable_dhcp": Attribute(check=v.boolean, post=True, put=True, default=True),
        "ipv6_ra_mode": absent_value("IPv6"),
        "ipv6_address_mode": absent_value("IPv6"),
        "subnetpool_id": absent_value("a subnet pool"),
        "service_types": absent_value("a service type"),
        "router:external": Attribute(check=v.boolean),
    },
)

PORT = Resource(
    name="port",
    collection="ports",
    attributes={
        **STANDARD,
        "network_id": PARENT,
        "admin_state_up": ADMIN_STATE_UP,
        "status": READ_ONLY,
        "mac_address": Attribute(check=v.mac_address, post=True, put=True),
        "fixed_ips": Attribute(check=v.fixed_ips, post=True, put=True, sorts=False),
        "device_id": Attribute(check=v.text(v.DEVICE_MAX), post=True, put=True, default=""),
        "device_owner": Attribute(check=v.text(v.DEVICE_MAX), post=True, put=True, default=""),
        "binding:host_id": Attribute(check=v.or_none(v.text(255)), post=True, put=True),
        "binding:vnic_type": Attribute(check=v.one_of("normal"), post=True, put=True, meant=False),
        "binding:vif_type": READ_ONLY,
        "binding:vif_details": UNFILTERED,
        "binding:profile": absent_value("a binding profile"),
        "allowed_address_pairs": absent_value("an allowed address pair"),
        "extra_dhcp_opts": absent_value("a DHCP option"),
        "security_groups": absent_value("a security group"),
        "port_security_enabled": absent_switch("port security"),
    },
)

_GATEWAY = v.or_nothing(
    v.mapping(
        network_id=v.Key(v.uuid, required=True),
        enable_snat=v.Key(v.boolean),
        external_fixed_ips=v.Key(v.fixed_ips),
    )
)

ROUTER = Resource(
    name="router",
    collection="routers",
    attributes={
        **STANDARD,
        "admin_state_up": ADMIN_STATE_UP,
        "status": READ_ONLY,
        "external_gateway_info": Attribute(check=_GATEWAY, post=True, put=True, filters=False, sorts=False),
        "routes": Attribute(check=v.empty_for_none(v.routes), put=True, filters=False, sorts=False),
        "availability_zone_hints": Attribute(
            check=v.unique_texts(255), post=True, put=True, default=(), filters=False, sorts=False
        ),
        "availability_zones": UNFILTERED,
        "ha": Attribute(check=v.boolean, post=True, put=True),
        "distributed": absent_switch("a distributed router"),
        "flavor_id": absent_value("a flavor"),
        "failover_mode": Attribute(
            check=v.one_of(*(str(each) for each in FailoverMode)),
            post=True,
            put=True,
        ),
    },
)

FLOATING_IP = Resource(
    name="floatingip",
    collection="floatingips",
    attributes={
        **{key: attribute for key, attribute in STANDARD.items() if key != "name"},
        "floating_network_id": PARENT,
        "floating_ip_address": Attribute(check=v.or_none(v.ip_address), post=True),
        "subnet_id": Attribute(check=v.or_none(v.uuid), post=True, visible=False, filters=False, sorts=False),
        "port_id": Attribute(check=v.or_none(v.uuid), post=True, put=True),
        "fixed_ip_address": Attribute(check=v.or_none(v.ip_address), post=True, put=True),
        "router_id": Attribute(check=v.uuid),
        "status": READ_ONLY,
        "port_details": UNFILTERED,
        "port_forwardings": UNFILTERED,
    },
)

AGENT = Resource(
    name="agent",
    collection="agents",
    owned=False,
    attributes={
        "id": Attribute(check=v.uuid),
        "agent_type": READ_ONLY,
        "binary": READ_ONLY,
        "topic": READ_ONLY,
        "host": READ_ONLY,
        "availability_zone": READ_ONLY,
        "admin_state_up": Attribute(check=v.boolean, put=True),
        "description": Attribute(check=v.or_none(v.text(v.DESCRIPTION_MAX)), put=True),
        "alive": Attribute(check=v.boolean),
        "created_at": UNSORTED,
        "started_at": UNSORTED,
        "heartbeat_timestamp": UNSORTED,
        "configurations": UNFILTERED,
        "resources_synced": UNFILTERED,
    },
)

AVAILABILITY_ZONE = Resource(
    name="availability_zone",
    collection="availability_zones",
    owned=False,
    paged_by="name",
    attributes={"name": READ_ONLY, "resource": READ_ONLY, "state": READ_ONLY},
)

EXTENSION = Resource(
    name="extension",
    collection="extensions",
    owned=False,
    paged_by="alias",
    attributes={"name": READ_ONLY, "alias": READ_ONLY, "description": READ_ONLY, "updated": READ_ONLY},
)

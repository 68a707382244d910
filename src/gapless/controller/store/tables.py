"""Every table. What must never be violated by two writers at once is a constraint here, not a check in code.

Ids are UUIDs as text, times are UTC. Addresses that are searched by range are numbers, other addresses and networks
are text; on the Python side all of them are `ipaddress` objects. `Timestamped` carries what every Neutron resource has.

Rules that no constraint can express (no overlapping subnets in a network, none on a router) are kept by
`revision_number`: who relies on such a rule also touches the row it is about, and of two that do so at once, the second
finds another revision than it read, and its transaction is a lost race.
"""

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    types,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

from gapless.controller.wallclock import utc_now
from gapless.model.router import DEFAULT_FAILOVER_MODE, FailoverMode

UUID = String(36)
NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(types.TypeDecorator[datetime]):
    """A point in time, aware and in UTC on the Python side; SQLite keeps no zones, so none is stored."""

    impl = types.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored: say which zone it is in")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class AddressNumber(types.TypeDecorator[IPv4Address]):
    """An IPv4 address as a number, so that ranges and orders work in SQL."""

    impl = types.BigInteger
    cache_ok = True

    def process_bind_param(self, value: IPv4Address | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> IPv4Address | None:
        return None if value is None else IPv4Address(value)


class AddressText(types.TypeDecorator[IPv4Address]):
    """An IPv4 address as people write it."""

    impl = types.String(15)
    cache_ok = True

    def process_bind_param(self, value: IPv4Address | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> IPv4Address | None:
        return None if value is None else IPv4Address(value)


class NetworkText(types.TypeDecorator[IPv4Network]):
    """An IPv4 network as people write it."""

    impl = types.String(18)
    cache_ok = True

    def process_bind_param(self, value: IPv4Network | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> IPv4Network | None:
        return None if value is None else IPv4Network(value)


class Table(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {
        datetime: UtcDateTime(),
        IPv4Address: AddressText(),
        IPv4Network: NetworkText(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
    }


class Timestamped:
    """What every Neutron resource carries."""

    id: Mapped[str] = mapped_column(UUID, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(255), default="", index=True)
    name: Mapped[str] = mapped_column(String(255), default="")
    description: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
    revision_number: Mapped[int]
    """Grows by one with each change; an UPDATE or DELETE that finds another one than was read is a lost race."""

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 -- SQLAlchemy calls it with the class
        return {"version_id_col": cls.revision_number}

    def touch(self) -> None:
        """Count a change of something that belongs to this row but is stored elsewhere."""
        self.updated_at = utc_now()


class Cluster(Table):
    """One row: who this cluster is."""

    __tablename__ = "cluster"
    id: Mapped[str] = mapped_column(UUID, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class NetworkRow(Timestamped, Table):
    __tablename__ = "networks"
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    shared: Mapped[bool] = mapped_column(default=False)
    external: Mapped[bool] = mapped_column(default=False)
    mtu: Mapped[int]
    network_type: Mapped[str] = mapped_column(String(16))
    segmentation_id: Mapped[int | None]
    physical_network: Mapped[str | None] = mapped_column(String(64))
    subnets: Mapped[list["SubnetRow"]] = relationship(back_populates="network", order_by="SubnetRow.created_at")
    __table_args__ = (
        UniqueConstraint("network_type", "segmentation_id"),
        # NULLs are distinct in a unique index, so VXLAN networks (no physical_network) never collide here.
        UniqueConstraint("physical_network"),
        CheckConstraint("network_type in ('vxlan', 'flat')", name="network_type"),
    )


class SubnetRow(Timestamped, Table):
    __tablename__ = "subnets"
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), index=True)
    cidr: Mapped[IPv4Network]
    gateway_ip: Mapped[IPv4Address | None]
    enable_dhcp: Mapped[bool] = mapped_column(default=True)
    dns_nameservers: Mapped[list[Any]] = mapped_column(default=list)
    host_routes: Mapped[list[Any]] = mapped_column(default=list)
    network: Mapped[NetworkRow] = relationship(back_populates="subnets")
    pools: Mapped[list["AllocationPoolRow"]] = relationship(
        cascade="all, delete-orphan", order_by="AllocationPoolRow.first"
    )


class AllocationPoolRow(Table):
    """A range of addresses to allocate from, both ends included."""

    __tablename__ = "allocation_pools"
    id: Mapped[int] = mapped_column(primary_key=True)
    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id"), index=True)
    first: Mapped[IPv4Address] = mapped_column(AddressNumber)
    last: Mapped[IPv4Address] = mapped_column(AddressNumber)
    __table_args__ = (CheckConstraint("first <= last", name="order"),)


class PortRow(Timestamped, Table):
    __tablename__ = "ports"
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), index=True)
    mac_address: Mapped[str] = mapped_column(String(17))
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    device_id: Mapped[str] = mapped_column(String(255), default="", index=True)
    device_owner: Mapped[str] = mapped_column(String(255), default="")
    binding_host: Mapped[str] = mapped_column(String(255), default="")
    addresses: Mapped[list["AddressRow"]] = relationship(
        back_populates="port", cascade="all, delete-orphan", order_by="AddressRow.position"
    )
    network: Mapped[NetworkRow] = relationship()
    __table_args__ = (UniqueConstraint("network_id", "mac_address"),)


class AddressRow(Table):
    """An address in use. The unique constraint is what makes allocation safe: the loser of a race picks another."""

    __tablename__ = "addresses"
    id: Mapped[int] = mapped_column(primary_key=True)
    port_id: Mapped[str] = mapped_column(ForeignKey("ports.id"), index=True)
    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id"))
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    address: Mapped[IPv4Address] = mapped_column(AddressNumber)
    position: Mapped[int] = mapped_column(default=0)
    port: Mapped[PortRow] = relationship(back_populates="addresses")
    subnet: Mapped[SubnetRow] = relationship()
    __table_args__ = (UniqueConstraint("network_id", "address"), Index("ix_addresses_subnet", "subnet_id"))


class RouterRow(Timestamped, Table):
    __tablename__ = "routers"
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    enable_snat: Mapped[bool] = mapped_column(default=True)
    ha: Mapped[bool] = mapped_column(default=DEFAULT_FAILOVER_MODE is FailoverMode.STANDBY)
    """Neutron's word for failover mode `standby`; always true with that, and false with any other."""
    failover_mode: Mapped[str] = mapped_column(String(16), default=DEFAULT_FAILOVER_MODE.value)
    availability_zone_hints: Mapped[list[Any]] = mapped_column(default=list)
    gateway_port_id: Mapped[str | None] = mapped_column(ForeignKey("ports.id"), unique=True)
    gateway_port: Mapped[PortRow | None] = relationship(foreign_keys=[gateway_port_id])
    ports: Mapped[list["RouterPortRow"]] = relationship(cascade="all, delete-orphan")
    routes: Mapped[list["RouteRow"]] = relationship(cascade="all, delete-orphan", order_by="RouteRow.id")
    floating_ips: Mapped[list["FloatingIpRow"]] = relationship(
        back_populates="router", order_by="FloatingIpRow.created_at"
    )
    binding: Mapped["BindingRow | None"] = relationship(cascade="all, delete-orphan")


class RouterPortRow(Table):
    """A tenant interface of a router. A port belongs to one router at most."""

    __tablename__ = "router_ports"
    port_id: Mapped[str] = mapped_column(ForeignKey("ports.id"), primary_key=True)
    router_id: Mapped[str] = mapped_column(ForeignKey("routers.id"), index=True)
    port: Mapped[PortRow] = relationship()


class RouteRow(Table):
    __tablename__ = "routes"
    id: Mapped[int] = mapped_column(primary_key=True)
    router_id: Mapped[str] = mapped_column(ForeignKey("routers.id"), index=True)
    destination: Mapped[IPv4Network]
    nexthop: Mapped[IPv4Address]
    __table_args__ = (UniqueConstraint("router_id", "destination", "nexthop"),)


class FloatingIpRow(Timestamped, Table):
    """A floating IP. Its address is held by a port of its own on the external network, as in Neutron."""

    __tablename__ = "floating_ips"
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    floating_port_id: Mapped[str] = mapped_column(ForeignKey("ports.id"), unique=True)
    floating_port: Mapped[PortRow] = relationship(foreign_keys=[floating_port_id])
    port_id: Mapped[str | None] = mapped_column(ForeignKey("ports.id"), index=True)
    port: Mapped[PortRow | None] = relationship(foreign_keys=[port_id])
    fixed_address: Mapped[IPv4Address | None] = mapped_column(AddressNumber)
    router_id: Mapped[str | None] = mapped_column(ForeignKey("routers.id"), index=True)
    router: Mapped[RouterRow | None] = relationship(back_populates="floating_ips")
    __table_args__ = (UniqueConstraint("network_id", "port_id", "fixed_address"),)


class HostRow(Table):
    """A host that has connected at least once. `instance` is its agent's id in the Neutron API."""

    __tablename__ = "hosts"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    instance: Mapped[str] = mapped_column(UUID, unique=True)
    incarnation: Mapped[int]
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    drains_at_once: Mapped[int | None]
    """How many routers may be on their way from it at a time, as an operator said; None: nobody did since it was last
    in service."""
    description: Mapped[str] = mapped_column(String(255), default="")
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime] = mapped_column(default=utc_now)
    heartbeat_at: Mapped[datetime] = mapped_column(default=utc_now)
    """When it was last heard, for people; written now and then. Liveness itself is judged by the monotonic clock."""


class HostNameRow(Table):
    """What is known of a host's name for ever, also once its agent is deleted: no tenure must be used twice."""

    __tablename__ = "host_names"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    instance: Mapped[str] = mapped_column(UUID)
    """The machine that connected last under this name."""
    started: Mapped[int]
    """The incarnation at which it did."""
    highest: Mapped[int]
    """The highest incarnation of the name that was heard of."""
    outlived: Mapped[int]
    """Incarnations up to this one belong to other machines, or are over by an operator's word."""
    confirmed: Mapped[int] = mapped_column(server_default="0")
    """Up to this incarnation an operator confirmed that the machine was off; 0: never. It has not connected since as
    long as this is not below `started`."""


class BindingRow(Table):
    """Which host a router is bound to. Never deleted while the router lives; `epoch` only grows."""

    __tablename__ = "bindings"
    router_id: Mapped[str] = mapped_column(ForeignKey("routers.id"), primary_key=True)
    host: Mapped[str] = mapped_column(ForeignKey("hosts.name"), index=True)
    epoch: Mapped[int]
    leaving_host: Mapped[str | None] = mapped_column(String(255))
    """A living host that must confirm that nothing is left there before `host` may build; None once it has."""
    incarnation: Mapped[int | None]
    """That of `host` at which the router is guarded by its lease; None: a classic binding."""
    leaving_incarnation: Mapped[int | None]
    """That of `leaving_host`, where the router is guarded there."""
    successors: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """Who may succeed `host`, by rank: each a host, its incarnation, and the epoch at which it would be active."""
    bound_at: Mapped[datetime] = mapped_column(default=utc_now)


class PanelRow(Table):
    """One row, once there is an arbiter: who the arbiters are (`model.lease.Panel`)."""

    __tablename__ = "panel"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    floor: Mapped[int]
    sets: Mapped[list[Any]]
    """One list of host names, or two while one set replaces the other."""


class MoveRow(Table):
    """The record of one move: every step with its time. Kept after the router is gone."""

    __tablename__ = "moves"
    router_id: Mapped[str] = mapped_column(UUID, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    router_name: Mapped[str] = mapped_column(String(255), default="")
    from_host: Mapped[str | None] = mapped_column(String(255))
    to_host: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(1024))
    last_heard_at: Mapped[datetime | None]
    granted_at: Mapped[datetime | None]
    missed_at: Mapped[datetime | None]
    silent_at: Mapped[datetime | None]
    decided_at: Mapped[datetime] = mapped_column(index=True)
    buried_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    bound_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    built_at: Mapped[datetime | None]
    announced_at: Mapped[datetime | None]
    forwarded_at: Mapped[datetime | None]
    confirmed_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    superseded_at: Mapped[datetime | None]
    detail: Mapped[str] = mapped_column(String(1024), default="")

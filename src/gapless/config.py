"""Settings: frozen, parsed once by the command line (flags and GAPLESS_ variables), handed in.

Nothing else reads the environment but what speaks to the service manager (`observe.notify`). Defaults are Neutron's
where Neutron has the knob.
"""

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from gapless.errors import InvalidRequest
from gapless.model.flow import FlowPolicy
from gapless.model.lease import DEFAULT as DEFAULT_TIMING
from gapless.model.lease import LeaseTiming

API_PORT = 9696
LINK_PORT = 9697
LEASE_PORT = 9698
"""UDP: datagrams of the lease, between hosts."""
METRICS_PORT = 9699
"""A host's figures, for Prometheus."""
FLOWS_PORT = 9695
"""TCP: flow streams, between hosts."""
VXLAN_PORT = 4789
MOST_STANDBYS = 3
NFTABLES_LIBRARY = "libnftables.so.1"
"""What NAT rules are loaded with; a host cannot carry routers without it."""
NFTABLES_PACKAGE = "libnftables1 (Debian, Ubuntu) or nftables (others)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen or connect."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int) -> "Address":
        """`HOST`, `HOST:PORT` or `:PORT` (loopback). Raises InvalidRequest with the accepted forms."""
        host, _, port = text.partition(":")
        if port and not (port.isdecimal() and 0 < int(port) < 65536):
            raise InvalidRequest(f"'{text}' is not an address: write HOST or HOST:PORT, PORT between 1 and 65535")
        return cls(host=host or "127.0.0.1", port=int(port) if port else default_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """When silence means death. Neutron's names, Neutron's defaults: 150 s until a router moves."""

    report_interval_s: float = 30.0
    agent_down_time_s: float = 75.0
    brake_share: float = 0.5
    """When more than this share of hosts look dead at once, nothing moves until it is over or released."""
    agent_patience_s: float = 60.0
    """How long a host's agent may not work before guarded routers leave that host."""

    def __post_init__(self) -> None:
        for name, seconds in (
            ("report_interval", self.report_interval_s),
            ("agent_down_time", self.agent_down_time_s),
            ("agent_patience", self.agent_patience_s),
        ):
            if not (isfinite(seconds) and seconds > 0):
                raise InvalidRequest(f"{name} must be a number of seconds greater than 0, and not {seconds:g}")
        if not 0 < self.brake_share <= 1:  # So is no NaN.
            raise InvalidRequest(
                f"brake_share must be greater than 0 and at most 1 (1: the brake never engages), and not "
                f"{self.brake_share:g}"
            )
        if self.agent_down_time_s < 2 * self.report_interval_s:
            raise InvalidRequest(
                f"agent_down_time ({self.agent_down_time_s:g} s) must be at least twice report_interval "
                f"({self.report_interval_s:g} s), or one late report makes a host look down"
            )

    @property
    def dead_after_s(self) -> float:
        """Silence after which routers move: twice agent_down_time, as in Neutron."""
        return 2 * self.agent_down_time_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of `gapless server`."""

    state_dir: Path
    database_url: str = ""
    """SQLAlchemy URL; "" means SQLite in `state_dir`."""
    api: Address = field(default_factory=lambda: Address(host="127.0.0.1", port=API_PORT))
    api_names: tuple[str, ...] = ()
    """Names, beside addresses and localhost, that callers of the API may use; see `controller.api.names`."""
    link: Address = field(default_factory=lambda: Address(host="127.0.0.1", port=LINK_PORT))
    liveness: Liveness = field(default_factory=Liveness)
    lease: LeaseTiming = DEFAULT_TIMING
    """How soon hosts notice that one of them is gone; they hear of it from the controller."""
    standbys: int = 1
    """How many hosts stand by for a router of failover mode `standby`, one after another."""
    physical_mtu: int = 1500
    """MTU of the hosts' data network in bytes; VXLAN networks get 50 less."""
    keep_moves_days: float = 90.0
    """How long the records of moves are kept; 0: for ever."""
    vni_first: int = 1
    vni_last: int = 16_777_215

    def __post_init__(self) -> None:
        if not 1 <= self.standbys <= MOST_STANDBYS:
            raise InvalidRequest(f"a router has 1 to {MOST_STANDBYS} standbys, not {self.standbys}")

    @property
    def key_file(self) -> Path:
        """The cluster's key: 32 bytes in hex, mode 0600, made at the first start."""
        return self.state_dir / "cluster.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """Settings of `gapless host`."""

    name: str
    state_dir: Path
    key_file: Path
    server: Address = field(default_factory=lambda: Address(host="127.0.0.1", port=LINK_PORT))
    availability_zone: str = "nova"
    capacity: int = 1000
    physical_networks: tuple[tuple[str, str], ...] = ()
    """(physical network, interface) pairs, such as ("external", "eth2")."""
    data_interface: str | None = None
    """Carries VXLAN between hosts; its first address is the tunnel's endpoint."""
    vxlan_group: str = "239.77.0.1"
    """Multicast group for broadcast, unknown and multicast frames; "" with `vxlan_peers`."""
    vxlan_peers: tuple[str, ...] = ()
    """Tunnel endpoints to flood to one by one, where the data network has no multicast."""
    vxlan_port: int = VXLAN_PORT
    lease_port: int = LEASE_PORT
    metrics: Address | None = None
    """Where the sentinel serves its figures; None: nowhere."""
    sync_flows: bool = True
    """Whether connections are copied to hosts that may succeed this one, and from hosts that it may succeed."""
    flows_port: int = FLOWS_PORT
    flows_most: int = 65_536
    """Connections of one router that are copied."""
    flows_policy: FlowPolicy = field(default_factory=FlowPolicy)
    """Which connections are worth copying."""
    raise_conntrack_max: bool = True
    """Whether this machine's kernel is made to track as many connections as those of hosts that it may succeed."""
    drain_within_s: float = 10.0
    """How long guarded routers have to leave this host when it is stopped by SIGTERM; 0: it stops at once."""

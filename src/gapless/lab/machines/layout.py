"""Who is where: the lab's switches, node names and addresses. The lab itself has an address on the management switch.

management 10.77.0.0/16      data 10.78.0.0/16 (VXLAN)     external 198.18.0.0/16 (RFC 2544's range)
  controller  10.77.0.1        controller  10.78.0.1         outside     198.18.0.1, the external gateway
  the lab     10.77.0.2        compute     10.78.0.2         far outside 198.51.100.10 (RFC 5737), behind it
  host-N      10.77.1.N        host-N      10.78.1.N

The controller is on the data network only where it is the third arbiter, for two hosts.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from gapless.lab.machines.wiring import Cable, Switch

MGMT = Switch("sw-mgmt", "mgmt0")
DATA = Switch("sw-data", "data0")
EXT = Switch("sw-ext", "ext0")
SWITCHES = (MGMT, DATA, EXT)

MGMT_NET = IPv4Network("10.77.0.0/16")
DATA_NET = IPv4Network("10.78.0.0/16")
EXTERNAL_NET = IPv4Network("198.18.0.0/16")
TENANT_NET = IPv4Network("192.168.10.0/24")
"""Of every tenant alike: tenants choose what they like, and what they choose overlaps."""

CONTROLLER = "controller"
COMPUTE = "compute"
OUTSIDE = "outside"
CONTROLLER_ADDRESS = IPv4Address("10.77.0.1")
ARBITER_ADDRESS = IPv4Interface("10.78.0.1/16")
LAB_ADDRESS = IPv4Interface("10.77.0.2/16")
COMPUTE_ADDRESS = IPv4Interface("10.78.0.2/16")
EXTERNAL_GATEWAY = IPv4Interface("198.18.0.1/16")
FAR_OUTSIDE = IPv4Address("198.51.100.10")
PHYSICAL_NETWORK = "external"
"""Neutron's name for what the external switch is."""
PHYSICAL_MTU = 1500
MOST_HOSTS = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """The N-th host's name, addresses and cables; the first is 1."""

    number: int

    @property
    def name(self) -> str:
        """host-1, host-2, ..."""
        return f"host-{self.number}"

    @property
    def mgmt_address(self) -> IPv4Interface:
        """On the management switch."""
        return IPv4Interface((MGMT_NET.network_address + 256 + self.number, MGMT_NET.prefixlen))

    @property
    def data_address(self) -> IPv4Interface:
        """Its VXLAN endpoint."""
        return IPv4Interface((DATA_NET.network_address + 256 + self.number, DATA_NET.prefixlen))

    @property
    def mgmt_cable(self) -> Cable:
        """To the management switch."""
        return Cable(MGMT, self.name)

    @property
    def data_cable(self) -> Cable:
        """To the data network's switch."""
        return Cable(DATA, self.name)

    @property
    def ext_cable(self) -> Cable:
        """To the external switch."""
        return Cable(EXT, self.name)

    @property
    def cables(self) -> tuple[Cable, Cable, Cable]:
        """All of them."""
        return self.mgmt_cable, self.data_cable, self.ext_cable


def addressed(interface: str, address: IPv4Interface | None) -> list[str]:
    """`ip` commands that give an interface its address, if it has one, and set it up."""
    lines = [f"address add {address} dev {interface}"] if address else []
    return [*lines, f"link set {interface} up"]

"""Switches and cables: bridges in the lab's own namespace, and veth pairs whose switch end can be cut.

A switch has no port configuration, no snooping and no spanning tree: what arrives is learned from and forwarded.
Cutting a cable sets its switch end down, so that, as with a pulled plug, the node sees the carrier go and the switch
forgets the addresses behind the port. A cable that loses frames in one direction only keeps its carrier, as one broken
fibre of two often does; and a switch that is split in two leaves every port its carrier too.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from gapless.config import LEASE_PORT
from gapless.lab.machines import shell
from gapless.model.lease import DatagramKind
from gapless.wire import lease


@dataclass(frozen=True, slots=True)
class Switch:
    """A layer-2 segment. `name` is the bridge's; `interface` what the nodes call their end (mgmt0, data0, ext0)."""

    name: str
    interface: str

    async def install(self, address: str | None = None) -> None:
        """Make the bridge. `address`, with prefix length: the lab's own on that segment."""
        lines = [
            # Snooping off: nobody here queries for groups, and VXLAN's flooding is multicast.
            f"link add {self.name} type bridge mcast_snooping 0 stp_state 0 forward_delay 0",
            f"link set {self.name} up",
        ]
        await shell.ip(lines + ([f"address add {address} dev {self.name}"] if address else []))


@dataclass(frozen=True, slots=True)
class Cable:
    """Between one switch and one node's namespace."""

    switch: Switch
    node: str

    @property
    def port(self) -> str:
        """The switch end, in the lab's own namespace; at most 15 characters."""
        return f"{self.switch.interface.rstrip('0')}-{self.node}"[:15]

    def plug(self) -> list[str]:
        """`ip` commands that make the cable and plug it in at both ends."""
        return [
            f"link add {self.port} type veth peer name {self.switch.interface} netns {self.node}",
            f"link set {self.port} master {self.switch.name} up",
        ]

    def unplug(self) -> list[str]:
        """`ip` commands that take the cable away altogether."""
        return [f"link del {self.port}"]


async def cut(cables: Iterable[Cable]) -> None:
    """Cut these cables, one right after the other (three take 2 ms)."""
    await shell.ip([f"link set {cable.port} down" for cable in cables])


async def mend(cables: Iterable[Cable]) -> None:
    """Plug them in again."""
    await shell.ip([f"link set {cable.port} up" for cable in cables])


# At the switch's end, before it learns an address from a frame, and after it has chosen the port: "out" and "in" as the
# node sees them.
_ONE_WAY = """
add table bridge cables
add set bridge cables out_lost {{ type ifname; }}
add set bridge cables in_lost {{ type ifname; }}
add chain bridge cables arriving {{ type filter hook prerouting priority -300; }}
add chain bridge cables leaving {{ type filter hook postrouting priority 300; }}
flush table bridge cables
add rule bridge cables arriving iifname @out_lost drop
add rule bridge cables leaving oifname @in_lost drop
add element bridge cables {which} {{ {ports} }}
"""
_BOTH_WAYS = "delete element bridge cables {which} {{ {ports} }}"


class Direction(StrEnum):
    """Which frames are lost, as the node sees them."""

    OUT = "out_lost"
    IN = "in_lost"


async def lose(direction: Direction, cables: Iterable[Cable]) -> None:
    """From now on these cables lose all frames in that direction, and none in the other."""
    await _one_way(_ONE_WAY, direction, cables)


async def lose_no_more(direction: Direction, cables: Iterable[Cable]) -> None:
    """They carry frames in that direction again; nothing changes for those that do."""
    await _one_way(_ONE_WAY + _BOTH_WAYS, direction, cables)


async def _one_way(rules: str, direction: Direction, cables: Iterable[Cable]) -> None:
    ports = ", ".join(f'"{cable.port}"' for cable in cables)
    await shell.run("nft", "-f", "-", given=rules.format(which=direction.value, ports=ports))


# Bytes 0 to 3 of a datagram's payload, behind the header of UDP (`wire.lease`).
_KIND_LOST = """
add table bridge datagrams
add chain bridge datagrams passing {{ type filter hook forward priority 0; }}
add rule bridge datagrams passing udp dport {port} @th,64,32 {begin:#x} drop
"""


@asynccontextmanager
async def losing_datagrams(kind: DatagramKind) -> AsyncIterator[None]:
    """Until the block is left, the switches lose all datagrams of the lease of that kind, and nothing else."""
    begin = int.from_bytes(lease.MAGIC + bytes((lease.VERSION, kind)))
    await shell.run("nft", "-f", "-", given=_KIND_LOST.format(port=LEASE_PORT, begin=begin))
    try:
        yield
    finally:
        await shell.run("nft", "delete", "table", "bridge", "datagrams")


async def split(switch: Switch, cables: Iterable[Cable]) -> None:
    """Let the switch fall into two: these cables on one half, all others on the other."""
    half = Switch(f"{switch.name}-2", switch.interface)
    await half.install()
    await shell.ip([f"link set {cable.port} master {half.name}" for cable in cables])


async def join(switch: Switch, cables: Iterable[Cable]) -> None:
    """Make one switch of the two again."""
    lines = [f"link set {cable.port} master {switch.name}" for cable in cables]
    await shell.ip([*lines, f"link del {switch.name}-2"])

"""Switches and cables: bridges in the lab's own namespace, and veth pairs whose switch end can be cut.

A switch has no port configuration, no snooping and no spanning tree: what arrives is learned from and forwarded.
Cutting a cable sets its switch end down, so that, as with a pulled plug, the node sees the carrier go and the switch
forgets the addresses behind the port.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gapless.lab import shell


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

"""Cables that are cut at the switch, or lose what goes one way, and are whole again."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from gapless.lab.faults.base import HARMLESS, LEAVES_LATER, NOTHING, STAYS, TAKEN_OVER, Fault, Lasting, Reach, in_mode
from gapless.lab.findings.expect import Expected, Gap, Moves
from gapless.lab.lab import Lab
from gapless.lab.machines import layout, wiring
from gapless.lab.machines.layout import Place
from gapless.lab.machines.wiring import Cable, Direction

FLAP_S = 0.3
FLAPS = 10


class _Cut(Lasting):
    @abstractmethod
    def cables(self) -> Sequence[Cable]:
        """Which are cut."""

    async def strike(self, lab: Lab) -> None:
        """Cut them."""
        del lab
        await wiring.cut(self.cables())

    async def heal(self, lab: Lab) -> None:
        """Plug them in again."""
        await wiring.mend(self.cables())
        await lab.hosts_alive(*self.names)


class _Link(_Cut):
    @staticmethod
    @abstractmethod
    def cable_of(place: Place) -> Cable:
        """Which cable of a host is cut."""

    def cables(self) -> Sequence[Cable]:
        """One of each host."""
        return [self.cable_of(host.place) for host in self.hosts]


class MgmtLink(_Link):
    """The controller no longer hears a host that forwards on. In the mode `reschedule` its routers move, and run twice
    until it is back: that mode has no fence against it.
    """

    name: ClassVar[str] = "mgmt-link"
    summary = "a host's management cable is cut"
    expected = in_mode(reschedule=Expected(gap=Gap.RESCHEDULE, moves=Moves.STRUCK, two_active=True), standby=NOTHING)

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the management switch."""
        return place.mgmt_cable


class HalfHosts(MgmtLink):
    """The controller stops hearing more than half of its hosts. They forward as before, and nothing may move."""

    name: ClassVar[str] = "half-hosts"
    summary = "more than half of the hosts fall silent at once"
    reach = Reach.MOST_HOSTS
    expected = HARMLESS


class DataLink(_Link):
    """Tenants' frames no longer reach a host, nor do other hosts' words; the controller still hears it."""

    name: ClassVar[str] = "data-link"
    summary = "a host's data cable is cut"
    expected = in_mode(reschedule=STAYS, standby=TAKEN_OVER)

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the data network."""
        return place.data_cable


class UplinkLost(_Link):
    """The outside world no longer reaches a host; everybody else still does."""

    name: ClassVar[str] = "uplink-lost"
    summary = "a host's external uplink is cut"
    expected = in_mode(reschedule=LEAVES_LATER, standby=TAKEN_OVER)

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the external switch."""
        return place.ext_cable


class UplinksLost(UplinkLost):
    """No host has an uplink, so there is no better place, and nobody moves. They are lost within some milliseconds."""

    name: ClassVar[str] = "uplinks-lost"
    summary = "the external uplinks of all hosts are cut"
    reach = Reach.ALL_HOSTS
    expected = in_mode(reschedule=STAYS, standby=STAYS)


class _OneWay(_Link):
    direction: ClassVar[Direction]

    async def strike(self, lab: Lab) -> None:
        """Lose what goes that way, at the switch's end; the carrier stays."""
        del lab
        await wiring.lose(self.direction, [self.cable_of(host.place) for host in self.hosts])

    async def heal(self, lab: Lab) -> None:
        """Carry it again."""
        await wiring.lose_no_more(self.direction, [self.cable_of(host.place) for host in self.hosts])
        await lab.hosts_alive(*self.names)


class DataLinkOut(_OneWay):
    """Nothing that the host sends on the data network arrives anywhere; it hears all others, and its carrier stays."""

    name: ClassVar[str] = "data-link-out"
    summary = "a host's data cable loses all that the host sends"
    expected = in_mode(reschedule=STAYS, standby=TAKEN_OVER)
    direction = Direction.OUT

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the data network."""
        return place.data_cable


class DataLinkIn(DataLinkOut):
    """Nothing on the data network arrives at the host; all others hear it, and its carrier stays."""

    name: ClassVar[str] = "data-link-in"
    summary = "a host's data cable loses all that is sent to the host"
    direction = Direction.IN


class GatewayLost(_OneWay):
    """The gateway's answers no longer reach a host, nor does anything else from outside; its carrier stays, and others
    hear the gateway. So it asks four times in vain, and resigns: nobody but itself can know.
    """

    name = "gateway-lost"
    summary = "a host hears nothing from the external network, and its carrier stays"
    expected = in_mode(reschedule=LEAVES_LATER, standby=TAKEN_OVER)
    direction = Direction.IN

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the external switch."""
        return place.ext_cable


class GatewaySilent(_Cut):
    """The gateway itself is gone: no host hears it, every carrier stays, and no host is a better place than another.
    Each finds out on its own, at a time of its own, and none may take itself for the only one.
    """

    name = "gateway-silent"
    summary = "the external network's gateway falls silent for all hosts, and every carrier stays"
    reach = Reach.ALL_HOSTS
    expected = in_mode(reschedule=STAYS, standby=STAYS)

    def cables(self) -> Sequence[Cable]:
        """The gateway's own."""
        return [Cable(layout.EXT, layout.OUTSIDE)]


class HostFlap(Fault):
    """A loose plug: out for long enough to end a lease, and back before anybody has finished with that."""

    name = "host-flap"
    summary = f"a host's data cable is cut for {FLAP_S * 1000:g} ms, {FLAPS} times"
    expected = in_mode(reschedule=STAYS, standby=Expected(gap=Gap.LASTS))

    async def strike(self, lab: Lab) -> None:
        """Out and in, out and in."""
        del lab
        cables = [host.place.data_cable for host in self.hosts]
        for _ in range(FLAPS):
            try:
                await wiring.cut(cables)
                await asyncio.sleep(FLAP_S)
            finally:
                await wiring.mend(cables)
            await asyncio.sleep(FLAP_S)


class Partition(Lasting):
    """The data network's switch falls into two: the fewer hosts are cut off from the others and from the VMs, and hear
    each other. Every carrier stays, and the controller hears everybody.
    """

    name = "partition"
    summary = "the data network falls into halves"
    reach = Reach.FEWER_HOSTS
    expected = in_mode(reschedule=STAYS, standby=TAKEN_OVER)

    async def strike(self, lab: Lab) -> None:
        """Split it."""
        del lab
        await wiring.split(layout.DATA, [host.place.data_cable for host in self.hosts])

    async def heal(self, lab: Lab) -> None:
        """Make it one again."""
        await wiring.join(layout.DATA, [host.place.data_cable for host in self.hosts])
        await lab.hosts_alive(*self.names)

"""Cables that are cut at the switch, and plugged in again."""

from abc import abstractmethod
from typing import ClassVar

from gapless.lab import wiring
from gapless.lab.faults.base import Lasting, Reach
from gapless.lab.lab import Lab
from gapless.lab.layout import Place
from gapless.lab.wiring import Cable


class _Link(Lasting):
    @staticmethod
    @abstractmethod
    def cable_of(place: Place) -> Cable:
        """Which cable of a host is cut."""

    async def strike(self, lab: Lab) -> None:
        """Cut it."""
        del lab
        await wiring.cut(self.cable_of(host.place) for host in self.hosts)

    async def heal(self, lab: Lab) -> None:
        """Plug it in again."""
        await wiring.mend(self.cable_of(host.place) for host in self.hosts)
        await lab.hosts_alive(*self.names)


class MgmtLink(_Link):
    """The controller no longer hears a host that forwards on: its routers move, and run twice until it is back."""

    name: ClassVar[str] = "mgmt-link"
    summary = "a host's management cable is cut"

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the management switch."""
        return place.mgmt_cable


class HalfHosts(MgmtLink):
    """The controller stops hearing more than half of its hosts. They forward as before, and nothing may move."""

    name: ClassVar[str] = "half-hosts"
    summary = "more than half of the hosts fall silent at once"
    reach = Reach.MOST_HOSTS
    harmless = True


class DataLink(_Link):
    """Tenants' frames no longer reach a host; the controller still hears it."""

    name: ClassVar[str] = "data-link"
    summary = "a host's data cable is cut"

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the data network."""
        return place.data_cable


class ExtLink(_Link):
    """The outside world no longer reaches a host; the controller still hears it."""

    name: ClassVar[str] = "ext-link"
    summary = "a host's external uplink is cut"

    @staticmethod
    def cable_of(place: Place) -> Cable:
        """To the external switch."""
        return place.ext_cable

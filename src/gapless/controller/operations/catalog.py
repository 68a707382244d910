"""All operations together, joined the one way in which they belong together."""

from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Self

from gapless.config import ServerSettings
from gapless.controller.operations.floatingips import FloatingIps
from gapless.controller.operations.ipam import Ipam
from gapless.controller.operations.networks import Networks
from gapless.controller.operations.ports import Ports
from gapless.controller.operations.routers import Routers
from gapless.controller.operations.segments import Segments
from gapless.controller.operations.subnets import Subnets


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The operations on each resource. `Catalog.of(settings)` makes one; it holds no state."""

    networks: Networks
    subnets: Subnets
    ports: Ports
    routers: Routers
    floating_ips: FloatingIps

    @classmethod
    def of(cls, settings: ServerSettings, random: Random | None = None) -> Self:
        """`random` decides where searches for free addresses and numbers start; give one with a seed to repeat them."""
        chance = random or SystemRandom()
        segments = Segments(
            random=chance,
            physical_mtu=settings.physical_mtu,
            first_vni=settings.vni_first,
            last_vni=settings.vni_last,
        )
        ports = Ports(Ipam(chance))
        floating_ips = FloatingIps(ports)
        return cls(
            networks=Networks(segments, floating_ips),
            subnets=Subnets(ports),
            ports=ports,
            routers=Routers(ports),
            floating_ips=floating_ips,
        )

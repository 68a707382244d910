"""A machine on the external network that has addresses of routers."""

import asyncio
import contextlib
from collections.abc import Iterable

from gapless.errors import Unavailable
from gapless.lab.faults.base import MARGIN_S, STAYS, Fault, in_mode
from gapless.lab.lab import Lab
from gapless.lab.machines import layout, netns, shell
from gapless.lab.machines.nodes import Host, PlainNode
from gapless.lab.machines.wiring import Cable
from gapless.lab.waiting import until

FOREIGNER = "foreigner"
MAC = "52:54:00:00:00:01"
SAID_WITHIN_S = 30.0


class AddressConflict(Fault):
    """A machine is switched on that has the floating IPs of a host's routers, announces them, and answers for them.

    It strikes until the controller has said of each router that it is degraded, which takes some seconds: what the
    machine is sent meanwhile is lost. When it is gone, its neighbours are told to forget it.
    """

    name = "address-conflict"
    summary = "another machine on the external network has the floating IPs of a host's routers"
    expected = in_mode(reschedule=STAYS, standby=STAYS)
    heals = True

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self._node = PlainNode(FOREIGNER)
        self._cable = Cable(layout.EXT, FOREIGNER)

    def hold_s(self, liveness: object) -> float:
        """Nothing moves for it: that would show at once."""
        del liveness
        return MARGIN_S

    async def strike(self, lab: Lab) -> None:
        """Switch it on, and wait until it was noticed. It says each time anew that it has the addresses."""
        placed = await lab.placement()
        struck = [each for each in lab.tenants if set(placed.get(each.router_id, ())) & set(self.names)]
        await asyncio.to_thread(netns.create, FOREIGNER)
        await shell.ip(self._cable.plug())
        device, prefix = layout.EXT.interface, layout.EXTERNAL_NET.prefixlen
        addresses = [f"address add {each.floating_address}/{prefix} dev {device}" for each in struck]
        await shell.ip([*addresses, f"link set {device} up"], inside=self._node.inside())
        # The kernel announces all addresses of an interface when its MAC address is set (arp_notify, ip-sysctl.rst).
        await shell.run(*self._node.inside(), "sysctl", "-qw", f"net.ipv4.conf.{device}.arp_notify=1")
        missing = {each.router_id for each in struck}

        async def is_said() -> bool:
            await shell.ip([f"link set {device} address {MAC}"], inside=self._node.inside())
            for router in await lab.api.routers():
                if f"is also used by {MAC}" in router["ailment"]:
                    missing.discard(router["router_id"])
            return not missing

        await until(is_said, "the conflicts are said", SAID_WITHIN_S, lambda: ", ".join(sorted(missing)), each_s=1.0)

    async def heal(self, lab: Lab) -> None:
        """Switch it off. What its neighbours know of it they would believe for half a minute."""
        with contextlib.suppress(Unavailable):  # half-way: it is not plugged in
            await shell.ip(self._cable.unplug())
        await asyncio.to_thread(netns.delete, FOREIGNER)
        device = layout.EXT.interface
        await shell.ip([f"neigh flush dev {device}"], inside=lab.node(layout.OUTSIDE).inside())

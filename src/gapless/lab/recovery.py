"""A lab that was struck is well again, and its hosts carry alike: what the next round begins from.

The rule: everything here waits for a level, however it came about, and nothing for a time. Nothing moves back by itself
(there is no fail-back), so a host that lost its routers would stay empty, and the next round would strike one that
carries more than the last. So the controller moves as many as it takes, those first whose standby there is ready: that
costs the lab a transaction on two hosts. Others are built there before they move: a host that came back late stands by
for nothing any more.
"""

from gapless.lab.lab import Lab
from gapless.lab.settings import MOST_ROUTERS


async def recover(lab: Lab) -> None:
    """Power on what is off, start what does not run, and wait until every router is active and its standby ready.

    Raises Unavailable when it does not come to that.
    """
    if not lab.controller.server.is_running:
        await lab.start_controller()
    for host in lab.hosts.values():
        if not host.machine.is_on:
            await host.power_on()
    await lab.start_hosts(host for host in lab.hosts.values() if not host.sentinel.is_running)
    await lab.hosts_alive()
    if lab.settings.has_standbys:
        await lab.arbiters_settled()
    await lab.routers_active()
    await lab.standbys_ready()


async def spread(lab: Lab) -> int:
    """Have routers moved until hosts carry alike, as `gapless rebalance` does, and wait for that; how many moved.

    Nothing moves where all are meant to be on one host, or where nobody stands by. Raises Unavailable when one does not
    arrive.
    """
    if lab.settings.packed or not lab.settings.has_standbys:
        return 0
    moved = 0
    while begun := await lab.api.rebalance(MOST_ROUTERS):
        await lab.routers_at({each["router_id"]: each["to_host"] for each in begun})
        moved += len(begun)
    await lab.standbys_ready()
    return moved

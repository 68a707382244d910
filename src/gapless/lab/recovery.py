"""A lab that was struck is well again, and its hosts carry alike: what the next round begins from.

The rule: everything here waits for a level, however it came about, and nothing for a time. Nothing moves back by itself
(there is no fail-back), so a host that lost its routers would stay empty, and the next round would strike one that
carries more than the last. So routers are moved, each to its own standby, which has it built: that costs the lab a
transaction on two hosts and no building.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from gapless.errors import Conflict, Unavailable
from gapless.lab.api import Item
from gapless.lab.lab import Lab


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
    """Move routers until hosts carry alike, as far as standbys allow, and wait for that; how many moved.

    Nothing moves where all are meant to be on one host, or where nobody stands by.
    """
    if lab.settings.packed or not lab.settings.has_standbys:
        return 0
    wanted = moves_to_even(await lab.api.routers(), lab.hosts)
    agents = {agent["host"]: agent["id"] for agent in await lab.api.find("agent")}

    async def move(router_id: str, host: str) -> None:
        try:
            await lab.api.move(router_id, agents[host])
        except Conflict as why:
            raise Unavailable(f"{router_id} cannot be moved to {host}: {why}") from why

    async with asyncio.TaskGroup() as group:
        for router_id, host in wanted.items():
            group.create_task(move(router_id, host))
    await lab.routers_at(wanted)
    await lab.standbys_ready()
    return len(wanted)


def moves_to_even(routers: Sequence[Item], hosts: Collection[str]) -> Mapping[str, str]:
    """Router id -> the host to move it to, its own standby: so that no host carries two more than another, if standbys
    lie so that it can be had in single steps.
    """
    carried = Counter(dict.fromkeys(hosts, 0))
    carried.update(router["host"] for router in routers)
    moves: dict[str, str] = {}
    for router in sorted(routers, key=lambda router: str(router["router_id"])):
        host, standby = router["host"], router["standby"]
        if router["standby_state"] == "ready" and standby in carried and carried[host] - carried[standby] > 1:
            carried[host] -= 1
            carried[standby] += 1
            moves[router["router_id"]] = standby
    return moves

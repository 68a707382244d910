"""When cables that were just plugged in carry frames.

The kernel's worker sees to that a little after both ends were set up (net/core/link_watch.c): until then the switch's
end is no port that frames are forwarded to, and what its node sends may be dropped.
"""

import json

from gapless.lab.machines import shell
from gapless.lab.machines.wiring import Cable
from gapless.lab.waiting import until

PATIENCE_S = 20.0


async def carrying(*cables: Cable) -> None:
    """Wait until these carry frames, both ways."""

    async def do() -> bool:
        return all([await _is_port(cable) and await shows("state UP", cable) for cable in cables])

    await until(do, f"{', '.join(cable.port for cable in cables)} carry frames", PATIENCE_S)


async def shows(words: str, cable: Cable) -> bool:
    """Whether `ip link` has these words for the node's end."""
    return words in await shell.run("ip", "-n", cable.node, "link", "show", cable.switch.interface)


async def _is_port(cable: Cable) -> bool:
    (port,) = json.loads(await shell.run("ip", "-j", "-d", "link", "show", cable.port))
    return bool(port["operstate"] == "UP" and port["linkinfo"]["info_slave_data"]["state"] == "forwarding")

"""Whether this machine has room for a lab: the one limit of the kernel that a large lab meets, told before it is built.

The table of neighbours (ARP) is one for all namespaces of a machine, and its limit can only be set outside of them. A
tenant needs five entries: its VM's and the outside's of the router, the router's of both, and the outside's of the
floating IP; a moved router leaves two behind on the dead host for a while. Past the limit, `neighbour: arp_cache:
neighbor table overflow!` is in the kernel's log and routers do not answer. Hosts of a real cloud meet it too, with a
thousand routers each.
"""

from pathlib import Path

from gapless.errors import InvalidRequest
from gapless.lab.settings import LabSettings
from gapless.observe.words import counted
from gapless.sentinel.prerequisites import NEIGHBOURS

ENTRIES_A_ROUTER = 6
LEFT_ON_A_HOST = 2
"""In rounds a router is on every host in turn, and leaves that many behind on each."""
OTHER_ENTRIES = 50


def needed(settings: LabSettings, rounds: int = 1) -> int:
    """Entries that a lab may have at once."""
    left = LEFT_ON_A_HOST * (settings.hosts - 1) if rounds > 1 else 0
    return OTHER_ENTRIES + settings.hosts + (ENTRIES_A_ROUTER + left) * settings.routers


def check(settings: LabSettings, limit_file: Path = NEIGHBOURS, *, rounds: int = 1) -> None:
    """Raise InvalidRequest, with the command that helps, when the lab would be too large for this machine."""
    most = needed(settings, rounds)
    try:
        limit = int(limit_file.read_text())
    except OSError:
        return
    if most > limit:
        raise InvalidRequest(
            f"{counted(settings.routers, 'router')} would need a neighbour table of {most} entries, this machine's has "
            f"{limit}:  "
            f"sudo sysctl -w net.ipv4.neigh.default.gc_thresh3={2 * most} net.ipv4.neigh.default.gc_thresh2={most}"
        )

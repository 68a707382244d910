"""Whether this machine has room for a lab: the two limits of the kernel that a large lab meets, told before.

The table of neighbours (ARP) is one for all namespaces of a machine, and its limit can only be set outside of them. A
tenant needs five entries: its VM's and the outside's of the router, the router's of both, and the outside's of the
floating IP; a moved router leaves two behind on the dead host for a while. Past the limit, `neighbour: arp_cache:
neighbor table overflow!` is in the kernel's log and routers do not answer. Hosts of a real cloud meet it too, with a
thousand routers each.

Both ends of all connections are one process's (`talker`): two descriptors each, so 5,000 need some 10,000, and a lab
cannot give itself more than its user has. Nothing else is short then: each connection has a port of its own VM's or,
to floating IPs, of the outside's to another address; and what is said is little, so the kernel keeps next to nothing.
"""

import resource
from pathlib import Path

from gapless.errors import InvalidRequest
from gapless.lab.settings import LabSettings
from gapless.observe.words import counted
from gapless.sentinel.prerequisites import NEIGHBOURS

ENTRIES_A_ROUTER = 6
LEFT_ON_A_HOST = 2
"""In rounds a router is on every host in turn, and leaves that many behind on each."""
OTHER_ENTRIES = 50
DESCRIPTORS_A_CONNECTION = 2
OTHER_DESCRIPTORS = 100


def needed(settings: LabSettings, rounds: int = 1) -> int:
    """Entries that a lab may have at once."""
    left = LEFT_ON_A_HOST * (settings.hosts - 1) if rounds > 1 else 0
    return OTHER_ENTRIES + settings.hosts + (ENTRIES_A_ROUTER + left) * settings.routers


def check(settings: LabSettings, limit_file: Path = NEIGHBOURS, *, rounds: int = 1) -> None:
    """Raise InvalidRequest, with the command that helps, when the lab would be too large for this machine."""
    _check_descriptors(settings)
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


def _check_descriptors(settings: LabSettings) -> None:
    """Of each router's VM somebody listens, too."""
    most = OTHER_DESCRIPTORS + settings.routers + DESCRIPTORS_A_CONNECTION * settings.flows if settings.flows else 0
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and most > limit:
        raise InvalidRequest(
            f"{counted(settings.flows, 'connection')} would need {most} open files of one process, and this user's may "
            f"have {limit}:  ulimit -n {most}, as root"
        )

"""What the routers' kernels know of the lab's connections, by a look into every namespace."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from gapless.lab.machines import linux
from gapless.lab.machines.nodes import Host
from gapless.lab.measuring.connections import PORT

_LIST = Path("/proc/thread-self/net/nf_conntrack")
_FLOW = re.compile(r"\b(?P<protocol>tcp|udp) .*?src=(?P<source>\S+) dst=\S+ sport=(?P<port>\d+) dport=(?P<to>\d+)")
"""Its first direction comes first."""


class Flow(NamedTuple):
    """One connection, as the kernel of its router names it: who opened it."""

    protocol: str
    source: str
    port: int


Wanted = Collection[tuple[str, Flow]]
"""Flows, each with its router's id: tenants' addresses overlap."""


def copied(hosts: Iterable[Host], wanted: Wanted) -> int:
    """How many of these two hosts know at least: the one where they pass, and one where they may pass next.

    Only these: a standby keeps for long what was over when nobody could tell it. Blocks.
    """
    routers, flows = {router_id for router_id, _ in wanted}, frozenset(wanted)
    known = Counter(
        (router_id, flow)
        for host in hosts
        for router_id, path in host.machine.router_namespaces().items()
        if router_id in routers
        for flow in established(linux.in_netns(path, _LIST.read_text))
    )
    return sum(times > 1 for name, times in known.items() if name in flows)


def established(listed: str) -> set[Flow]:
    """The lab's connections in what the kernel lists of a namespace: of TCP established ones, of UDP answered ones."""
    found = (match for line in listed.splitlines() if (match := _FLOW.search(line)) and _is_up(line))
    return {Flow(one["protocol"], one["source"], int(one["port"])) for one in found if one["to"] == str(PORT)}


def _is_up(line: str) -> bool:
    return "ESTABLISHED" in line if "tcp" in line else "[UNREPLIED]" not in line

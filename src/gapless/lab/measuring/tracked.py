"""What the routers' kernels know of the lab's TCP connections, by a look into every namespace."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from gapless.lab.machines import linux
from gapless.lab.machines.nodes import Host
from gapless.lab.measuring.connections import PORT

_LIST = Path("/proc/thread-self/net/nf_conntrack")
_FLOW = re.compile(r"src=\S+ dst=\S+ sport=\d+ dport=\d+")
"""Its first direction comes first."""


def copied(hosts: Iterable[Host]) -> int:
    """How many established ones two hosts know at least: the one where they pass, and one where they may pass next.

    What one host alone knows counts nothing: a host that was struck may know connections of an earlier time. Blocks.
    """
    known = Counter(
        (router_id, flow)
        for host in hosts
        for router_id, path in host.machine.router_namespaces().items()
        for flow in established(linux.in_netns(path, _LIST.read_text))
    )
    return sum(times > 1 for times in known.values())


def established(listed: str) -> set[str]:
    """The lab's established connections in what the kernel lists of a namespace."""
    flows = [found[0] for line in listed.splitlines() if "ESTABLISHED" in line and (found := _FLOW.search(line))]
    return {flow for flow in flows if flow.endswith(f" dport={PORT}")}

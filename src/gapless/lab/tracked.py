"""What the routers' kernels know of the lab's TCP connections, by a look into every namespace."""

from collections.abc import Iterable
from pathlib import Path

from gapless.lab import linux
from gapless.lab.connections import PORT
from gapless.lab.nodes import Host

_LIST = Path("/proc/thread-self/net/nf_conntrack")


def connections(hosts: Iterable[Host]) -> int:
    """How many established ones there are, each counted in every namespace that knows it. Blocks."""
    paths = [path for host in hosts for path in host.machine.router_namespaces().values()]
    return sum(_established(linux.in_netns(path, _LIST.read_text)) for path in paths)


def _established(listed: str) -> int:
    return sum("ESTABLISHED" in line and f"dport={PORT} " in line for line in listed.splitlines())

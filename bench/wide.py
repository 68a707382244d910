"""More routers of one external network on one host than a bridge has ports: built, asked, adopted and deleted.

    python bench/wide.py [--routers 2500] [--out DIRECTORY]

Each router has a gateway and nothing else. Somebody outside asks for the address of each by an ARP probe (RFC 5227,
which leaves no neighbour behind on either side), and counts those who answer with the MAC address that is theirs.
Another agent then adopts all of it, and is to find nothing to do. At the end nothing may be left.

Re-executes itself in namespaces of its own, so it needs no root and leaves nothing behind.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from gapless.agent.kernel import links
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import tap_name
from gapless.kernel import arp
from gapless.kernel.netlink import Netlink
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.router import Gateway, Router, RouterId, RouterPort
from measuring import HERE, by_what, write
from one_host import enter_namespaces, prepare_host

AT_ONCE = 32
"""Routers that are deleted together, and addresses that are asked for together."""
NETWORK = Network(
    id=NetworkId("eeeeeeee-0000-4000-8000-000000000001"), type=NetworkType.FLAT, mtu=1500, physical_network="external"
)
PATIENCE_S = 1.0


def main() -> int:
    """Print what each step took, in milliseconds a router, and write it; 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", type=int, default=2500, help="(default: 2500)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    options = parser.parse_args()
    count: int = options.routers
    enter_namespaces()
    settings = prepare_host()
    before = names()
    routers = [router(number) for number in range(count)]
    agent = Reconciler(settings)
    took = {"built": timed(lambda: [agent.reconcile(it) for it in routers], count)}
    spread = where(routers)
    answers = ask(routers)
    agent.close()
    another = Reconciler(settings)
    changed: list[str] = []
    took["adopted"] = timed(lambda: changed.extend(it.id for it in routers if another.reconcile(it).changed), count)
    moved = spread != where(routers)
    took["deleted"] = timed(lambda: delete(another, routers), count)
    another.close()
    left = names() - before
    words = f"{answers:,} of {count:,} answered; adopting changed {len(changed)}; moved: {moved}; left: {sorted(left)}"
    text = table(spread, took, words)
    print(text)
    figures = {"ports": spread, "ms": took, "answered": answers, "changed": len(changed), "moved": moved}
    write(options.out, "wide", text, figures | {"left": sorted(left)})
    return int(answers != count or bool(changed) or moved or bool(left))


def table(spread: Mapping[str, int], took: Mapping[str, float], words: str) -> str:
    """As Markdown."""
    lines = ["# Routers of one external network on one host", "", "| bridge | routers |", "|---|---|"]
    lines += [f"| {bridge} | {ports:,} |" for bridge, ports in sorted(spread.items())]
    lines += ["", "| | ms a router |", "|---|---|"]
    lines += [f"| {what} | {ms:.1f} |" for what, ms in took.items()]
    return "\n".join((*lines, "", f"{words}.", "", by_what(), ""))


def router(number: int) -> Router:
    """The router of this number."""
    port = RouterPort(
        id=PortId(f"{number:08x}-0000-4000-8000-00000000000e"),
        network=NETWORK,
        mac=f"fa:16:3e:0e:{number >> 8:02x}:{number & 255:02x}",
        addresses=(IPv4Interface((IPv4Address("10.0.1.0") + number, 16)),),
    )
    return Router(
        id=RouterId(f"{number:08x}-0000-4000-8000-000000000000"),
        name=f"r{number}",
        gateway=Gateway(port=port, next_hop=IPv4Address("10.0.0.1"), snat=True),
    )


def port_of(it: Router) -> RouterPort:
    """Its gateway port."""
    assert it.gateway is not None
    return it.gateway.port


def timed(work: Callable[[], object], count: int) -> float:
    """Milliseconds for each of so many."""
    began = time.monotonic()
    work()
    return (time.monotonic() - began) * 1000 / count


def where(routers: Sequence[Router]) -> Counter[str]:
    """How many of the routers' taps each bridge has."""
    with Netlink() as host:
        found = {link.index: link for link in links.all_links(host)}
    taps = {tap_name(port_of(it).id) for it in routers}
    return Counter(found[link.master].name for link in found.values() if link.name in taps)


def names() -> set[str]:
    """Of the host's links."""
    with Netlink() as host:
        return {link.name for link in links.all_links(host)}


def ask(routers: Sequence[Router]) -> int:
    """How many answer an ARP probe from outside."""
    subprocess.run(["ip", "link", "set", "ext1", "up"], check=True, timeout=10)
    own = bytes.fromhex("020000000001")
    answered: set[tuple[bytes, IPv4Address]] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(arp.ETHERTYPE)) as opened:
        opened.bind(("ext1", arp.ETHERTYPE))
        opened.settimeout(PATIENCE_S)
        for start in range(0, len(routers), AT_ONCE):
            ports = [port_of(it) for it in routers[start : start + AT_ONCE]]
            wanted = {(bytes.fromhex(it.mac.replace(":", "")), it.addresses[0].ip) for it in ports}
            for port in ports:
                opened.send(arp.probe(b"\xff" * 6, own, port.addresses[0].ip))
            deadline = time.monotonic() + PATIENCE_S
            while wanted - answered and time.monotonic() < deadline:
                try:
                    frame = opened.recv(2048)
                except TimeoutError:
                    break
                if frame[:6] == own and frame[20:22] == b"\0\2":
                    answered |= {arp.answer(frame)} & wanted
    return len(answered)


def delete(agent: Reconciler, routers: Sequence[Router]) -> None:
    """As the agent's worklist has it."""
    for start in range(0, len(routers), AT_ONCE):
        agent.remove_together([it.id for it in routers[start : start + AT_ONCE]])
    while agent.sweep(()):
        pass


if __name__ == "__main__":
    sys.exit(main())

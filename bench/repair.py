"""What each kind of breakage costs a router: traffic lost until it is repaired, as distributions, with the machine.

    python bench/repair.py [--routers 1,100,1000] [--times 20] [--at-once 100] [--kinds link-down,...]
                           [--raise-neighbour-limits] [--strict]

One host in namespaces of its own, with the real agent and the real kernel, without a controller. Some of its routers
have a VM that sends probes to the world outside (the lab's prober). Each breakage strikes one of these after
another; then, where the host has so many, all at once. A gap is the longest stretch without a reply from the strike on,
and never shorter than the probes' interval. Before that nothing is broken for a while: what the agent takes then is its
steady state.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from gapless.agent.kernel import links, netns, routing, ruleset
from gapless.agent.kernel.nft import Nft
from gapless.agent.worklist import REST
from gapless.core.dataplane.desired import ROUTING_RULES, bridge_name, desired_router, tap_of
from gapless.errors import InvalidRequest
from gapless.kernel.netlink import Netlink, Request
from gapless.lab.measuring.probes import Recording, gap
from gapless.lab.measuring.traffic import Traffic
from gapless.model.observed import KernelRouter
from gapless.model.plan import RouterState
from gapless.model.router import Router
from measuring import HERE, commit, measured, spread, write
from neighbours import add_flag, fullness, raised_if, times_full
from one_host import agent_of, bridges_of, enter_namespaces, plug_vm, prepare_outside, probe, router

PROBED = 10
"""Routers with a VM, where they are struck one at a time."""
MEDIAN_MS, MOST_MS = 50.0, 250.0
"""Goals of what one router loses, and of what each of many that are struck at once does."""
_DELRULE = 33
STEADY_S = 30.0
PATIENCE_S = 60.0


def main() -> int:
    """Measure each size in a process of its own, print the table, write both files. Exit 1, with `--strict`, when a
    goal was missed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="1,100,1000", help="routers on the host (default: 1,100,1000)")
    parser.add_argument("--times", type=int, default=20, help="how often each kind strikes one router (default: 20)")
    parser.add_argument("--at-once", type=int, default=100, help="routers struck at once, 0: none (default: 100)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"breakages (default: {','.join(KINDS)})")
    add_flag(parser)
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        return _inside(options)
    try:
        with raised_if(options.raise_neighbour_limits, max(map(int, options.routers.split(",")))):
            found = [_apart(size, options) for size in options.routers.split(",")]
    except InvalidRequest as error:
        print(f"bench/repair.py: {error}", file=sys.stderr)
        return 1
    text = _table(found)
    print(f"\n{text}")
    write(options.out, "repair", text, found)
    return 1 if options.strict and any(map(_misses, _all_gaps(found))) else 0


def _apart(size: str, options: argparse.Namespace) -> dict[str, Any]:
    argv = [__file__, "--routers", size, "--times", str(options.times), "--at-once", str(options.at_once)]
    before = times_full()
    figures: dict[str, Any] = measured([sys.executable, *argv, "--kinds", options.kinds, "--measure"])
    return figures | {"neighbours_full": times_full() - before}


def _inside(options: argparse.Namespace) -> int:
    enter_namespaces()
    with tempfile.TemporaryDirectory() as state_dir:
        figures = asyncio.run(_measure(options, Path(state_dir)))
    options.measure.write_text(json.dumps(figures))
    return 0


# The kinds of breakage. Each is given a router and what its kernel state should be, and breaks it as fast as it can be.


def _namespace_deleted(it: Router, _: KernelRouter) -> None:
    netns.delete(netns.path_of(it.id))


def _link_down(it: Router, desired: KernelRouter) -> None:
    name = _inner(desired)
    _in_router(it, lambda inside: inside.carry_out([_set_down(name)]))


def _link_deleted(it: Router, desired: KernelRouter) -> None:
    name = _inner(desired)
    _in_router(it, lambda inside: inside.carry_out([links.delete(name)]))


def _tap_down(_: Router, desired: KernelRouter) -> None:
    _on_host(_set_down(tap_of(_inner(desired))))


def _tap_deleted(_: Router, desired: KernelRouter) -> None:
    _on_host(links.delete(tap_of(_inner(desired))))


def _tap_unplugged(_: Router, desired: KernelRouter) -> None:
    _on_host(links.set_master(tap_of(_inner(desired)), 0))


def _bridge_down(it: Router, _: KernelRouter) -> None:
    _on_host(_set_down(bridge_name(it.ports[0].network.id)))


def _address_removed(it: Router, desired: KernelRouter) -> None:
    name = _inner(desired)

    def damage(inside: Netlink) -> None:
        (index,) = (link.index for link in links.all_links(inside) if link.name == name)
        inside.carry_out([routing.remove_address(name, index, held) for held in desired.links[name].addresses])

    _in_router(it, damage)


def _route_removed(it: Router, desired: KernelRouter) -> None:
    def damage(inside: Netlink) -> None:
        indices = {link.name: link.index for link in links.all_links(inside)}
        inside.carry_out([routing.remove_route(route, indices.__getitem__) for route in desired.routes])

    _in_router(it, damage)


def _forwarding_off(it: Router, _: KernelRouter) -> None:
    netns.enter(netns.path_of(it.id), lambda: netns.write_settings({"ipv4/ip_forward": "0"}))


def _rules_flushed(it: Router, _: KernelRouter) -> None:
    with netns.enter(netns.path_of(it.id), Nft) as nft:
        nft.transact("flush ruleset", "flush")


def _rules_asleep(it: Router, _: KernelRouter) -> None:
    with netns.enter(netns.path_of(it.id), Nft) as nft:
        nft.transact(f"add table ip {ruleset.TABLE} {{ flags dormant; }}", "put to sleep")


def _rules_altered(it: Router, _: KernelRouter) -> None:
    with netns.enter(netns.path_of(it.id), Nft) as nft:
        nft.transact(f"insert rule ip {ruleset.TABLE} forward drop", "drop whatever is forwarded")


def _routing_rules_flushed(it: Router, _: KernelRouter) -> None:
    flushed = [replace(routing.restore_rule(rule), type=_DELRULE, flags=0) for rule in ROUTING_RULES if rule.priority]
    _in_router(it, lambda inside: inside.carry_out(flushed))


KINDS: dict[str, Callable[[Router, KernelRouter], None]] = {
    "namespace-deleted": _namespace_deleted,
    "link-down": _link_down,
    "link-deleted": _link_deleted,
    "address-removed": _address_removed,
    "route-removed": _route_removed,
    "forwarding-off": _forwarding_off,
    "rules-flushed": _rules_flushed,
    "rules-asleep": _rules_asleep,
    "rules-altered": _rules_altered,
    "routing-rules-flushed": _routing_rules_flushed,
    "tap-down": _tap_down,
    "tap-deleted": _tap_deleted,
    "tap-unplugged": _tap_unplugged,
    "bridge-down": _bridge_down,
}


def _inner(desired: KernelRouter) -> str:
    return next(name for name in desired.links if name.startswith("qr-"))


def _set_down(name: str) -> Request:
    raised = links.raise_link(name)
    family_and_index, flags_and_mask, rest = raised.body[:8], raised.body[8:16], raised.body[16:]
    return replace(raised, body=family_and_index + bytes(4) + flags_and_mask[4:] + rest)


def _in_router(it: Router, work: Callable[[Netlink], object]) -> None:
    with netns.enter(netns.path_of(it.id), Netlink) as inside:
        work(inside)


def _on_host(request: Request) -> None:
    with Netlink() as host:
        host.carry_out([request])


# The host, its agent, and what is around.


async def _measure(options: argparse.Namespace, state_dir: Path) -> dict[str, Any]:
    settings = replace(prepare_outside(), state_dir=state_dir)
    routers = [router(number) for number in range(int(options.routers))]
    everyone = min(options.at_once, len(routers))
    probed = routers[: max(min(PROBED, len(routers)), everyone)]
    async with agent_of(settings) as agent:
        agent.plan(routers)
        await agent.says(RouterState.ACTIVE, routers)
        for number, it in enumerate(probed):
            plug_vm(number, it)
        await asyncio.sleep(5)
        steady = await _steady(agent.pid)
        figures: dict[str, Any] = {
            "routers": len(routers),
            "steady": steady,
            "alone": {},
            "at_once": {},
            "struck": everyone,
        }
        for kind in options.kinds.split(","):
            alone = [[it] for it, _ in zip(_again(probed[:PROBED]), range(options.times), strict=False)]
            figures["alone"][kind] = await _strike(kind, probed[:PROBED], alone)
            if everyone > 1:
                figures["at_once"][kind] = await _strike(kind, probed, [probed])
            print(len(routers), kind, _words(figures["alone"][kind]), _words(figures["at_once"].get(kind)), flush=True)
        figures["rss_mb"] = _rss_mb(agent.pid)
    return figures


def _again(routers: list[Router]) -> Iterable[Router]:
    while True:
        yield from routers


async def _steady(pid: int) -> dict[str, float]:
    before, began = _cpu_s(pid), time.monotonic()
    await asyncio.sleep(STEADY_S)
    share = (_cpu_s(pid) - before) / (time.monotonic() - began)
    return {"core_percent": round(100 * share, 2), "rss_mb": _rss_mb(pid)}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    words = Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()
    return round(int(words[0]) / 1024, 1)


# Striking.


async def _strike(kind: str, probed: list[Router], victims: list[list[Router]]) -> list[float]:
    """The gaps of all victims of all strikes, in milliseconds, least first."""
    flows = [probe(number, it) for number, it in enumerate(probed)]
    strikes: list[tuple[int, list[Router]]] = []
    traffic = Traffic(flows, 10.0 if len(flows) <= PROBED else 50.0)
    await traffic.start()
    try:
        await traffic.all_answered(for_s=0.5, timeout_s=PATIENCE_S)
        await traffic.begin()
        for place, struck in enumerate(victims):
            if place >= len(probed):
                # Who strikes one router again and again is answered slowly, on purpose.
                await asyncio.sleep(max(0.0, REST.settled_s - (time.monotonic_ns() - strikes[-len(probed)][0]) / 1e9))
            plans = [(it, desired_router(it, ruleset.render(it), bridges_of(it))) for it in struck]
            strikes.append((time.monotonic_ns(), struck))
            await asyncio.to_thread(_break, KINDS[kind], plans)
            await asyncio.sleep(0.1)
            await traffic.all_answered(for_s=0.2, timeout_s=PATIENCE_S)
        with tempfile.TemporaryDirectory() as directory:
            recording = await traffic.end(Path(directory) / "recording")
    finally:
        await traffic.close()
    return sorted(_gaps(recording, strikes))


def _break(damage: Callable[[Router, KernelRouter], None], plans: list[tuple[Router, KernelRouter]]) -> None:
    for it, desired in plans:
        damage(it, desired)


def _gaps(recording: Recording, strikes: list[tuple[int, list[Router]]]) -> Iterable[float]:
    ends = [at for at, _ in strikes[1:]] + [recording.end_ns]
    tracks = {track.flow.router_id: track for track in recording.tracks}
    for (at, struck), end in zip(strikes, ends, strict=True):
        for it in struck:
            yield round(gap(tracks[it.id].replied, at - int(recording.interval_ms * 1e6), end).ms, 1)


def _words(gaps: list[float] | None) -> str:
    return spread(gaps) if gaps else "–"


def _table(found: list[dict[str, Any]]) -> str:
    sizes = [it["routers"] for it in found]
    lines = [
        "# Repairs",
        "",
        "Lost traffic in milliseconds, median (least to most). Probes go each 10 ms; each 50 ms where many routers are "
        f"struck at once. The goals: {MEDIAN_MS:g} in the median, {MOST_MS:g} at most; what misses one is **bold**.",
        "",
        f"| breakage | {' | '.join(_heads(found))} |",
        f"|---|{'---|' * len(_heads(found))}",
    ]
    for kind in found[0]["alone"]:
        gaps = [it["alone"][kind] for it in found] + [it["at_once"][kind] for it in found if it["at_once"]]
        cells = [f"**{_words(each)}**" if _misses(each) else _words(each) for each in gaps]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += [
        "",
        f"| steady state | {' | '.join(f'{size} routers' for size in sizes)} |",
        f"|---|{'---|' * len(sizes)}",
    ]
    lines.append(f"| % of a core | {' | '.join(str(it['steady']['core_percent']) for it in found)} |")
    lines.append(f"| MB, at the end | {' | '.join(str(it['rss_mb']) for it in found)} |")
    full = fullness({it["routers"]: it["neighbours_full"] for it in found})
    version = f"{os.cpu_count()} cores, Linux {os.uname().release}, Gapless at {commit()}"
    return "\n".join((*lines, "", full, "", f"{version}.", ""))


def _misses(gaps: list[float]) -> bool:
    return bool(gaps) and (median(gaps) > MEDIAN_MS or max(gaps) > MOST_MS)


def _all_gaps(found: list[dict[str, Any]]) -> list[list[float]]:
    return [gaps for it in found for kinds in (it["alone"], it["at_once"]) for gaps in kinds.values()]


def _heads(found: list[dict[str, Any]]) -> list[str]:
    alone = [f"one of {it['routers']}" for it in found]
    return alone + [f"{it['struck']} at once of {it['routers']}" for it in found if it["at_once"]]


if __name__ == "__main__":
    sys.exit(main())

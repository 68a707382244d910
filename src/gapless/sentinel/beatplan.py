"""From a host's plan to what its beat has to know of it: guarded routers, their taps, and what to announce where."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

import msgspec

from gapless.config import HostSettings
from gapless.core.dataplane.desired import tap_name
from gapless.core.hostplan import HostPlan
from gapless.model.host import Incarnation
from gapless.model.plan import PanelPlan, PlannedRouter
from gapless.model.router import Router, RouterId
from gapless.sentinel.beat.preparing import ports_of
from gapless.wire.beat import BeatPort, BeatRouter, PlanPart

ROUTERS_PER_PART = 25
ROUTER_BYTES_MAX = 32 * 1024
"""Decoded by the beat in a fraction of a millisecond, and far less than a packet takes."""
REMOVED_PER_PART = 500
"""Ids alone."""


def beat_router(planned: PlannedRouter, settings: HostSettings) -> BeatRouter | None:
    """What the beat knows of a router; None for a classic one, which forwards without a lease."""
    if planned.guarded is None:
        return None
    router = planned.router
    return BeatRouter(
        router_id=router.id,
        epoch=planned.epoch,
        guarded=planned.guarded,
        taps=tuple(taps_of(router)),
        ports=tuple(
            _announced(
                BeatPort(
                    link=port.link, mac=port.mac, addresses=port.addresses, bridge=port.bridge, way_out=port.way_out
                )
                for port in (ports_of(router, dict(settings.physical_networks)) if router.admin_up else ())
            )
        ),
        gateway=_gateway(router, settings),
    )


def _gateway(router: Router, settings: HostSettings) -> tuple[str, IPv4Address] | None:
    if router.gateway is None or router.gateway.next_hop is None or not router.admin_up:
        return None
    uplink = dict(settings.physical_networks).get(router.gateway.port.network.physical_network or "")
    return (uplink, router.gateway.next_hop) if uplink is not None else None


def taps_of(router: Router) -> Iterator[str]:
    """Names of the taps by which it passes frames."""
    if router.admin_up:
        yield from (tap_name(port.id) for port in router.ports)
        if router.gateway is not None:
            yield tap_name(router.gateway.port.id)


def parts(
    sent: HostPlan | None,
    plan: HostPlan,
    settings: HostSettings,
    *,
    version: int,
    incarnation: Incarnation,
    heard: int,
    panel: PanelPlan | None,
) -> Iterator[PlanPart]:
    """What leads from the plan that was sent (None: nothing was) to this one; at least one part, the last one with the
    panel.
    """
    difference = (sent or HostPlan.of(plan.revision, ())).difference_to(plan)
    routers = [(each.router.id, beat_router(each, settings)) for each in difference.routers]
    guarded = [router for _, router in routers if router is not None]
    unguarded = [router_id for router_id, router in routers if router is None]
    removed = [*difference.removed, *unguarded] if sent is not None else []
    contents: list[tuple[tuple[RouterId, ...], tuple[BeatRouter, ...]]] = [
        (tuple(removed[at : at + REMOVED_PER_PART]), ()) for at in range(0, len(removed), REMOVED_PER_PART)
    ]
    contents += [((), handful) for handful in _handfuls(guarded)]
    if panel is not None or not contents:
        contents.append(((), ()))
    for number, (gone, handful) in enumerate(contents, 1):
        yield PlanPart(
            revision=version,
            incarnation=incarnation,
            heard=heard,
            whole=number == 1 and sent is None,
            last=number == len(contents),
            panel=panel if number == len(contents) else None,
            routers=handful,
            removed=gone,
        )


def _handfuls(routers: list[BeatRouter]) -> Iterator[tuple[BeatRouter, ...]]:
    """As many at once as are decoded in no time."""
    handful: list[BeatRouter] = []
    weight = 0
    for router in routers:
        more = _weight(router)
        if handful and (len(handful) == ROUTERS_PER_PART or weight + more > ROUTER_BYTES_MAX):
            yield tuple(handful)
            handful, weight = [], 0
        handful.append(router)
        weight += more
    if handful:
        yield tuple(handful)


def _weight(router: BeatRouter) -> int:
    """About how many bytes it has in a message."""
    return (
        400
        + 20 * len(router.taps)
        + sum(map(_weight_of_port, router.ports))
        + 300 * (len(router.guarded.after) + (router.guarded.release is not None))
    )


def _weight_of_port(port: BeatPort) -> int:
    return 150 + 18 * len(port.addresses)


def _announced(ports: Iterable[BeatPort]) -> Iterator[BeatPort]:
    """As much of these as fits into a message: a router with thousands of addresses announces the first ones only."""
    room = ROUTER_BYTES_MAX
    for port in ports:
        addresses = port.addresses[
            : max(0, (room - _weight_of_port(msgspec.structs.replace(port, addresses=()))) // 18)
        ]
        room -= _weight_of_port(port)
        if addresses:
            yield msgspec.structs.replace(port, addresses=addresses)

"""Turning what the lab sees into its event stream: the prober's pulses, and what the controller says once a second."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from gapless.errors import GaplessError
from gapless.lab.api import Api, Item
from gapless.lab.findings import events
from gapless.lab.findings.events import Listener
from gapless.lab.measuring import probes
from gapless.lab.measuring.probes import Flow, Pulse

WATCH_EACH_S = 1.0


def seen(pulse: Pulse, flows: Sequence[Flow], interval_ms: float) -> events.TrafficSeen:
    """A pulse by router: a router is as silent as the more silent of its two directions."""
    oldest: dict[str, int] = {}
    for flow, at in zip(flows, pulse.last_reply_ns, strict=True):
        oldest[flow.router_id] = min(oldest.get(flow.router_id, at), at)
    silent = {router: (pulse.at_ns - at) / 1e6 if at else -1.0 for router, at in oldest.items()}
    limit = probes.answered_within_ms(interval_ms)
    return events.TrafficSeen(
        at=pulse.at_ns / 1e9,
        silent_ms=silent,
        answered=frozenset(router for router, ms in silent.items() if 0 <= ms <= limit),
        sent=pulse.sent,
        lost=pulse.sent - pulse.answered,
        lateness_ms=pulse.lateness_ms,
    )


class Watch:
    """Asks the controller about once a second where routers and hosts are, and tells the listener."""

    def __init__(self, api: Api, listen: Listener) -> None:
        self._api = api
        self._listen = listen
        self._host_of: dict[str, str | None] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; a second call changes nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._ask(), name="watch")

    async def stop(self) -> None:
        """End; a second call changes nothing."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _ask(self) -> None:
        while True:
            with contextlib.suppress(GaplessError):  # the controller may be away: that is what labs are for
                self._tell(await self._api.routers(), await self._api.hosts())
            await asyncio.sleep(WATCH_EACH_S)

    def _tell(self, routers: Sequence[Item], hosts: Sequence[Item]) -> None:
        now = time.monotonic()
        host_of: dict[str, str | None] = {router["router_id"]: router["host"] for router in routers}
        for router_id, host in host_of.items():
            before = self._host_of.get(router_id, host)
            if before != host:
                self._listen(events.RouterMoved(at=now, router_id=router_id, from_host=before, to_host=host))
        self._host_of = host_of
        self._listen(
            events.Placed(
                at=now,
                host_of=host_of,
                state_of={router["router_id"]: router["state"] for router in routers},
                reason_of={router["router_id"]: router["reason"] for router in routers},
                standing_of={host["name"]: host["standing"] for host in hosts},
            )
        )

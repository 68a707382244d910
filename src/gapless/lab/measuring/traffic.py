"""The lab's end of the prober: starts it, hears its pulses, waits for traffic, fetches the recording."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gapless.errors import Unavailable
from gapless.lab.measuring import probes
from gapless.lab.measuring.measurer import Measurer
from gapless.lab.measuring.probes import Flow, Orders, Pulse, Recording

END_TIMEOUT_S = 30.0
PULSE_TIMEOUT_S = 10.0
"""A prober sends its pulses many times a second; silent for so long, it does not run any more."""

_SEE = "; its words are on standard error"


class Traffic(Measurer):
    """Probes through a set of routers, from `start` to `end`. `on_pulse` hears every pulse."""

    module, name, writes = "gapless.lab.measuring.prober", "the prober", "its recording"

    def __init__(
        self, flows: Sequence[Flow], interval_ms: float, *, on_pulse: Callable[[Pulse], None] | None = None
    ) -> None:
        super().__init__()
        self.flows = tuple(flows)
        self.interval_ms = interval_ms
        self.pulse: Pulse | None = None
        self._on_pulse = on_pulse
        self._listener: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    async def start(self) -> None:
        """Begin to send."""
        process = await self.launch(Orders(flows=self.flows, interval_ms=self.interval_ms))
        self._listener = asyncio.create_task(self._listen(process), name="prober")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.pulse = msgspec.json.decode(line, type=Pulse)
            if self._on_pulse:
                self._on_pulse(self.pulse)
            async with self._news:
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def answered(self, pulse: Pulse) -> list[bool]:
        """Per flow: is it answered now?"""
        oldest = pulse.at_ns - int(probes.answered_within_ms(self.interval_ms) * 1e6)
        return [at >= oldest for at in pulse.last_reply_ns]

    def unanswered(self) -> list[Flow]:
        """The flows that were not answered at the last pulse; all before the first."""
        if self.pulse is None:
            return list(self.flows)
        answered = self.answered(self.pulse)
        return [flow for flow, is_answered in zip(self.flows, answered, strict=True) if not is_answered]

    async def all_answered(self, *, for_s: float, timeout_s: float) -> None:
        """Wait until every flow has been answered at each pulse of the last `for_s` seconds.

        Never less than twice the silence that still counts as answered: an outage that has just begun must show.
        Raises Unavailable when `timeout_s` is over first; it names what is not answered.
        """
        for_s = max(for_s, 2 * probes.answered_within_ms(self.interval_ms) / 1000)
        deadline = time.monotonic() + timeout_s
        since: float | None = None
        while True:
            heard = self.pulse
            if heard is None or not all(self.answered(heard)):
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() - since >= for_s:
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"not answered after {timeout_s:g} s: {_named(self.unanswered())}")
            await self._next_pulse(heard)

    async def _next_pulse(self, last: Pulse | None) -> None:
        try:
            async with asyncio.timeout(PULSE_TIMEOUT_S), self._news:
                await self._news.wait_for(lambda: self.pulse is not last or self._is_over())
        except TimeoutError:
            raise Unavailable(f"the prober has said nothing for {PULSE_TIMEOUT_S:g} s") from None
        if self._is_over():
            raise Unavailable(f"the prober ended on its own{_SEE}")

    def _is_over(self) -> bool:
        return self._listener is None or self._listener.done() or self.process is None

    async def end(self, path: Path) -> Recording:
        """Stop sending and fetch what was recorded, through the file `path`. Raises Unavailable; it is over even so."""
        await self.finish(path, END_TIMEOUT_S)
        return await asyncio.to_thread(probes.read, path)

    async def close(self) -> None:
        """End the prober, whatever it is doing. Safe to call twice."""
        await super().close()
        if self._listener is not None:
            await self._listener
            self._listener = None


def _named(flows: Sequence[Flow], most: int = 5) -> str:
    words = [f"{flow.router_id[:8]} {flow.direction.value} ({flow.source} -> {flow.target})" for flow in flows[:most]]
    more = f" and {len(flows) - most} more" if len(flows) > most else ""
    return ", ".join(words) + more

"""Keeps one flows process running: starts it, gives it its duties, hears that it lives, and starts it again.

The flows process copies connections to hosts that may succeed this one (`gapless.flows`). It is disposable: while none
runs, routers forward, takeovers happen, and flows that began meanwhile are not copied yet.

Its duties are a level: what is open, what is planned, where hosts are. They are worked out anew when one of these
changes, and sent when they differ, `GATHER_S` after each other at least: a thousand routers come one by one.
"""

import asyncio
import contextlib
import socket
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gapless.core.backoff import Backoff, Pace
from gapless.errors import GaplessError, Unavailable
from gapless.kernel import refusals
from gapless.kernel.refusals import Trying
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.sentinel.processes import give_up_first, how_it_ended
from gapless.wire.flowlink import (
    Asking,
    FlowFigures,
    FlowsAlive,
    FlowsBegin,
    FlowsDuties,
    FlowsFlushed,
    FlowsUnable,
    FromFlows,
    from_flows,
)
from gapless.wire.local import LocalLink

RESTART = Pace(first_s=0.2, most_s=30.0, settled_s=30.0)
SILENT_S = 30.0
"""Without a word for so long, it hangs."""
FAREWELL_S = 2.0
GATHER_S = 0.05
"""What changes within this time is said at once: a takeover opens routers by the hundred."""


class FlowKeeper:
    """Runs flows processes, one after another, until cancelled."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        begin: FlowsBegin,
        duties: Callable[[], FlowsDuties],
        flushed: Callable[[Mapping[RouterId, Asking]], None] = lambda _: None,
        copied: Callable[[Mapping[RouterId, bool]], None] = lambda _: None,
        *,
        pace: Pace = RESTART,
        silent_s: float = SILENT_S,
    ) -> None:
        """`duties` works out what there is to do now; `flushed` is told of what was flushed of that, and to where.
        `copied` is told of which routers that this host follows it has all flows, and of which not, as far as that is
        known: all of it, whenever it changes.
        """
        self._command, self._begin, self._duties = command, begin, duties
        self._flushed, self._copied_are = flushed, copied
        self._copied: dict[RouterId, bool] = {}
        self._backoff = Backoff(pace)
        self._silent_s = silent_s
        self._changed = asyncio.Event()
        self._trouble = Ailment()
        self._log = get_logger()
        self._before, self._last = FlowFigures(), FlowFigures()
        """What the processes before the present one said last, added up; and what it says."""

    @property
    def figures(self) -> FlowFigures:
        """Of all processes so far: no count falls when one ends."""
        return _sum(self._before, self._last)

    def look(self) -> None:
        """What its duties come from may have changed."""
        self._changed.set()

    async def run(self, cluster: str) -> None:
        """Until cancelled: one process after another."""
        while True:
            began_at = time.monotonic()
            how = await self._one_life(cluster)
            wait_s = self._backoff.after(time.monotonic() - began_at)
            what = "the flows process ended; connections that begin now survive no takeover until it runs again"
            self._trouble.persists(self._log.warning, what, reason=how)
            self._tell_copied(dict.fromkeys(self._copied, False))
            self._before, self._last = _sum(self._before, self._last, is_over=True), FlowFigures()
            await asyncio.sleep(wait_s)

    async def _one_life(self, cluster: str) -> str:
        """Start one and stay with it until it is gone; returns how it ended."""
        try:
            ours, its = socket.socketpair()
        except OSError as error:  # of descriptors there are none left
            return f"it cannot be started: {refusals.why(error, Trying.START)}"
        link = await LocalLink.over(ours, from_flows)
        try:
            process = await _start(self._command(its.fileno()), its.fileno())
        except OSError as error:
            await link.close()
            return f"it cannot be started: {refusals.why(error, Trying.START)}"
        except asyncio.CancelledError:
            await link.close()
            raise
        finally:
            its.close()
        give_up_first(process.pid)
        how, status = "", 0
        try:
            how = await self._accompany(link, cluster)
        finally:
            status = await _see_off(process, link)
        return how or how_it_ended(status)

    async def _accompany(self, link: LocalLink[FromFlows], cluster: str) -> str:
        """Feed it and hear it, until either ends; returns why. Nobody goes on with duties of which no more are told."""
        listening = asyncio.create_task(self._listen(link))
        feeding = asyncio.create_task(self._feed(link, cluster))
        try:
            await asyncio.wait((listening, feeding), return_when=asyncio.FIRST_COMPLETED)
            if feeding.done() and isinstance(feeding.exception(), Unavailable):
                await asyncio.wait((listening,), timeout=FAREWELL_S)  # Its last words say more than a send that failed.
        finally:
            listening.cancel()
            feeding.cancel()
            results = await asyncio.gather(listening, feeding, return_exceptions=True)
        return _why(*results)

    async def _feed(self, link: LocalLink[FromFlows], cluster: str) -> None:
        """Bring it to its newest duties, and keep it there. Raises Unavailable when it is gone."""
        sent: FlowsDuties | None = None
        await link.send(msgspec.structs.replace(self._begin, cluster=cluster))
        while True:
            self._changed.clear()
            if (duties := self._duties()) != sent:
                await link.send(duties)
                sent = duties
            await asyncio.sleep(GATHER_S)
            await self._changed.wait()

    async def _listen(self, link: LocalLink[FromFlows]) -> str:
        """Until it ends; returns what it said of why. Raises Unavailable when it hangs."""
        copied: dict[RouterId, bool | None] = {}
        while True:
            try:
                async with asyncio.timeout(self._silent_s):
                    message = await link.receive()
            except TimeoutError:
                raise Unavailable(f"it hung: it said nothing for {self._silent_s:g} s") from None
            match message:
                case FlowsAlive():
                    self._last = message.figures
                    copied |= message.copied
                    self._tell_copied({each: known for each, known in copied.items() if known is not None})
                    self._trouble.ends(self._log.info, "the flows process runs again")
                case FlowsFlushed():
                    self._flushed(message.answers)
                case FlowsUnable():
                    return message.reason
                case None:
                    return ""

    def _tell_copied(self, copied: dict[RouterId, bool]) -> None:
        if copied != self._copied:
            self._copied = copied
            self._copied_are(copied)


def _why(heard: str | BaseException, fed: BaseException | None) -> str:
    """What it said, or why it was heard or fed no more; "": it ended, and its status says how."""
    for result in (heard, fed):
        if isinstance(result, Exception) and not (result is fed and isinstance(result, Unavailable)):
            return str(result) if isinstance(result, GaplessError) else repr(result)
    return heard if isinstance(heard, str) else ""


def _sum(before: FlowFigures, last: FlowFigures, *, is_over: bool = False) -> FlowFigures:
    """Counts are added; streams and lag are the last one's, and nobody's when that is over."""
    return FlowFigures(
        heard=before.heard + last.heard,
        told=before.told + last.told,
        applied=before.applied + last.applied,
        refused=before.refused + last.refused,
        unread=before.unread + last.unread,
        left_out=before.left_out + last.left_out,
        overruns=before.overruns + last.overruns,
        copies=before.copies + last.copies,
        turned_away=before.turned_away + last.turned_away,
        streams=0 if is_over else last.streams,
        lag_ms=0.0 if is_over else last.lag_ms,
    )


async def _start(command: Sequence[str], descriptor: int) -> Process:
    """Start it. A cancellation meanwhile is answered when it is there, and ended: asyncio would lose sight of it."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, pass_fds=(descriptor,), stdin=DEVNULL, process_group=0)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        process.kill()
        await process.wait()
        raise


async def _see_off(process: Process, link: LocalLink[FromFlows]) -> int:
    """Close the link, which asks it to end; make sure that it has, also when this is cancelled meanwhile."""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await link.close()
                await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode

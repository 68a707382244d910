"""Real-time priority for the beats of labs, from outside, where the labs cannot take it themselves; and for the prober.

In a user namespace only limits count, so a lab's beats get it where whoever starts the lab may raise limits
(CAP_SYS_RESOURCE; see `gapless.lab.machines.enter`). Root in many containers may not, and yet has CAP_SYS_NICE. Then
this does from outside what a beat would have done itself (`gapless.sentinel.beat.priority`): its main thread gets
SCHED_FIFO 50, its other threads 49, and what it starts gets neither. Only processes below this one are touched.

Where a few routers are probed finely, a late probe would be taken for a dark router. There the prober has SCHED_FIFO 48
(`paces_probes`): below the beats, which it must not hold up. Not elsewhere: ten thousand probes a second would take
most of a core from what is measured.
"""

import os
import resource
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gapless.lab.machines.enter import REAL_TIME_PRIORITY
from gapless.lab.machines.nodes import BEAT_MODULE
from gapless.lab.measuring.traffic import Traffic

LOOK_EACH_S = 0.2
LOOKS = 10
"""So often a process is looked at that is neither: between fork and exec it still has another one's command line."""
PROBER_PRIORITY = REAL_TIME_PRIORITY - 2
BY_ITSELF, FROM_OUTSIDE, NONE = "by the lab itself", "given from outside", "none"


class RealTime:
    """Looks for beats below this process, and gives them priority. `got`: what they have, in words."""

    def __init__(self) -> None:
        self.got = BY_ITSELF if labs_take_it() else NONE
        self.paces_probes = False
        """Set it for a lab whose prober is to have priority, too."""
        self._is_refused = self._paced = False
        self._found: dict[int, str] = {}
        """Beats and probers: process -> which of them."""
        self._looked: Counter[int] = Counter()

    @property
    def words(self) -> str:
        """For a table's last line."""
        probers = "; the prober had it in drains, below the beats" if self._paced else ""
        return f"real-time priority: {self.got}{probers}"

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to be given from outside."""
        return (self.got != BY_ITSELF or self.paces_probes) and not self._is_refused

    def look(self) -> None:
        """One look at everything that runs here. What ends meanwhile is let go."""
        there = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 -- five times a second
        self._found = {pid: what for pid, what in self._found.items() if pid in there}
        for pid in set(self._looked) - there:
            del self._looked[pid]
        for pid in sorted(there - self._found.keys()):
            if self._looked[pid] < LOOKS:
                self._looked[pid] += 1
                if (what := _what(pid)) and _is_below_us(pid):
                    self._found[pid] = what
        for pid, what in self._found.items():
            if what == BEAT_MODULE and self.got != BY_ITSELF and self._give(pid, REAL_TIME_PRIORITY):
                self._say(FROM_OUTSIDE)
            elif what == Traffic.module and self.paces_probes:
                self._paced |= self._give(pid, PROBER_PRIORITY)

    def _give(self, pid: int, first: int) -> bool:
        """To its main thread, one less to its others. Whether it has that now."""
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                thread = int(task.name)
                priority = first - (thread != pid)
                if (os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority) != (_FIFO, priority):
                    os.sched_setscheduler(thread, _FIFO, os.sched_param(priority))
        except PermissionError:
            self._is_refused = True
        except (FileNotFoundError, ProcessLookupError):
            pass
        else:
            return True
        return False

    def _say(self, got: str) -> None:
        if got != self.got:
            self.got = got
            print(f"  {self.words}", flush=True)


_FIFO = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


@contextmanager
def real_time() -> Iterator[RealTime]:
    """While the block lasts, beats below this process have real-time priority, if there is any way to it."""
    given, over = RealTime(), threading.Event()

    def keep_looking() -> None:
        while not over.wait(LOOK_EACH_S):
            if given.is_wanted:
                given.look()

    if not given.is_wanted:
        print(given.words, flush=True)
    looking = threading.Thread(target=keep_looking, name="real-time", daemon=True)
    looking.start()
    try:
        yield given
    finally:
        over.set()
        looking.join()
        if given.got == NONE:
            print(given.words, flush=True)


def labs_take_it() -> bool:
    """Whether labs that this process starts take real-time priority themselves: by its limit, or by raising that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    if hard == resource.RLIM_INFINITY or hard >= REAL_TIME_PRIORITY:
        return True
    try:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (soft, REAL_TIME_PRIORITY))
    except (ValueError, OSError):
        return False
    resource.setrlimit(resource.RLIMIT_RTPRIO, (soft, hard))
    return True


def why_not_from_outside() -> str | None:
    """Try it on a process of our own: None where it can be given, else one line."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, _FIFO, os.sched_param(REAL_TIME_PRIORITY))
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return "SCHED_FIFO is not allowed here: CAP_SYS_NICE or RLIMIT_RTPRIO" if status else None


def _what(pid: int) -> str:
    """Which of the two a process is; "": neither."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((each for each in (BEAT_MODULE, Traffic.module) if each.encode() in words), "")


def _is_below_us(pid: int) -> bool:
    """Whether this process is among its ancestors."""
    here = os.getpid()
    try:
        while pid > 1 and pid != here:
            # proc_pid_stat(5): field 4; the second field may hold spaces and ends at the last parenthesis
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return pid == here

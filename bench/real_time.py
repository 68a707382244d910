"""Real-time priority for the beats of labs, and for a prober, from outside, where the labs cannot take it themselves.

In a user namespace only limits count, so a lab's beats get it where whoever starts the lab may raise limits
(CAP_SYS_RESOURCE; see `gapless.lab.machines.enter`). Root in many containers may not, and yet has CAP_SYS_NICE. Then
this does from outside what a beat would have done itself (`gapless.sentinel.beat.priority`): its main thread gets
SCHED_FIFO 50, its other threads 49, and what it starts gets neither. Only processes below this one are touched.

A prober that is late says of a router that it was dark for longer than it was. So where milliseconds are judged and
probes are few it may have 48: beats go first, and all else waits for it.
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

PROBER_PRIORITY = 48
LOOK_EACH_S = 0.2
LOOKS = 10
"""So often a process is looked at that is no beat: between fork and exec it still has another one's command line."""
BY_ITSELF, FROM_OUTSIDE, NONE = "by the lab itself", "given from outside", "none"


class RealTime:
    """Looks for beats below this process, and gives them priority. `got`: what they have, in words. `prober`: it gets
    some, too, also where beats take theirs themselves.
    """

    def __init__(self, *, prober: bool = False) -> None:
        self.got = BY_ITSELF if labs_take_it() else NONE
        self._is_refused = False
        self._modules: dict[str, int] = {}
        if self.got != BY_ITSELF:
            self._modules[BEAT_MODULE] = REAL_TIME_PRIORITY
        if prober:
            self._modules[Traffic.module] = PROBER_PRIORITY
        self._has_prober = False
        self._found: dict[int, int] = {}
        """Processes that get priority, and which."""
        self._looked: Counter[int] = Counter()

    @property
    def words(self) -> str:
        """For a table's last line."""
        return f"real-time priority: {self.got}{'; the prober has some, too' if self._has_prober else ''}"

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to be given from outside."""
        return bool(self._modules) and not self._is_refused

    def look(self) -> None:
        """One look at everything that runs here. What ends meanwhile is let go."""
        there = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 -- five times a second
        self._found = {pid: priority for pid, priority in self._found.items() if pid in there}
        for pid in set(self._looked) - there:
            del self._looked[pid]
        for pid in sorted(there - self._found.keys()):
            if self._looked[pid] < LOOKS:
                self._looked[pid] += 1
                priority = self._priority_of(pid)
                if priority is not None and _is_below_us(pid):
                    self._found[pid] = priority
        for pid, priority in self._found.items():
            self._give(pid, priority)

    def _priority_of(self, pid: int) -> int | None:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        return next((priority for module, priority in self._modules.items() if module.encode() in words), None)

    def _give(self, pid: int, first: int) -> None:
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
            if first == PROBER_PRIORITY:
                self._has_prober = True
            else:
                self._say(FROM_OUTSIDE)

    def _say(self, got: str) -> None:
        if got != self.got:
            self.got = got
            print(f"  {self.words}", flush=True)


_FIFO = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


@contextmanager
def real_time(*, prober: bool = False) -> Iterator[RealTime]:
    """While the block lasts, beats below this process have real-time priority, if there is any way to it; and if asked
    for, its prober.
    """
    given, over = RealTime(prober=prober), threading.Event()

    def keep_looking() -> None:
        while given.is_wanted and not over.wait(LOOK_EACH_S):
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

"""Real-time priority for the beats of labs, from outside, where the labs cannot take it themselves.

In a user namespace only limits count, so a lab's beats get it where whoever starts the lab may raise limits
(CAP_SYS_RESOURCE; see `gapless.lab.machines.enter`). Root in many containers may not, and yet has CAP_SYS_NICE. Then
this does from outside what a beat would have done itself (`gapless.sentinel.beat.priority`): its main thread gets
SCHED_FIFO 50, its other threads 49, and what it starts gets neither. Only processes below this one are touched.
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

LOOK_EACH_S = 0.2
LOOKS = 10
"""So often a process is looked at that is no beat: between fork and exec it still has another one's command line."""
BY_ITSELF, FROM_OUTSIDE, NONE = "by the lab itself", "given from outside", "none"


class RealTime:
    """Looks for beats below this process, and gives them priority. `got`: what they have, in words."""

    def __init__(self) -> None:
        self.got = BY_ITSELF if labs_take_it() else NONE
        self._is_refused = False
        self._beats: set[int] = set()
        self._looked: Counter[int] = Counter()

    @property
    def words(self) -> str:
        """For a table's last line."""
        return f"real-time priority: {self.got}"

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to be given from outside."""
        return self.got != BY_ITSELF and not self._is_refused

    def look(self) -> None:
        """One look at everything that runs here. What ends meanwhile is let go."""
        there = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 -- five times a second
        self._beats &= there
        for pid in set(self._looked) - there:
            del self._looked[pid]
        for pid in sorted(there - self._beats):
            if self._looked[pid] < LOOKS:
                self._looked[pid] += 1
                if _is_beat(pid) and _is_below_us(pid):
                    self._beats.add(pid)
        for pid in self._beats:
            self._give(pid)

    def _give(self, pid: int) -> None:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                thread = int(task.name)
                priority = REAL_TIME_PRIORITY - (thread != pid)
                if (os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority) != (_FIFO, priority):
                    os.sched_setscheduler(thread, _FIFO, os.sched_param(priority))
        except PermissionError:
            self._is_refused = True
        except (FileNotFoundError, ProcessLookupError):
            pass
        else:
            self._say(FROM_OUTSIDE)

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


def _is_beat(pid: int) -> bool:
    try:
        return BEAT_MODULE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


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

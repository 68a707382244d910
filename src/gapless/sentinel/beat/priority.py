"""What keeps the beat on time on a busy machine: real-time priority, locked memory, no garbage collection in the way.

Each is taken where the kernel allows it and done without where not: a rootless lab has neither, and with the default
timing it needs neither. What was got is said once, in words, because at 3 a.m. it explains a late beat.
"""

import ctypes
import gc
import os
import signal
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # asm-generic/mman.h
PRIORITY = 50
"""Of SCHED_FIFO: above everything ordinary, in the middle of the range, as threaded interrupts are. This process's
other threads have the one below, and so have those that they start (to visit a namespace): whoever holds Python's lock
must not be held up by what is ordinary.
"""


def die_with_the_sentinel() -> None:
    """The kernel kills this process when the one that started it ends, also when that one was killed (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def take_priority() -> str:
    """Take what is allowed; returns what was got, as a clause for a log line."""
    return f"{_be_scheduled_first()}, {_lock_memory()}"


def _be_scheduled_first() -> str:
    beat = threading.get_native_id()
    others = {thread.native_id for thread in threading.enumerate() if thread.native_id is not None} - {beat}
    try:
        for thread, priority in ((beat, PRIORITY), *((other, PRIORITY - 1) for other in others)):
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        pass
    else:
        return f"real-time priority {PRIORITY}"
    try:
        for thread in (beat, *others):
            os.setpriority(os.PRIO_PROCESS, thread, -20)
    except PermissionError:
        return "normal priority (real-time is not allowed here: CAP_SYS_NICE or RLIMIT_RTPRIO)"
    return "highest ordinary priority (real-time is not allowed here)"


def _lock_memory() -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0:
        return "memory locked"
    return f"memory not locked ({os.strerror(ctypes.get_errno())})"


def settle_memory() -> None:
    """What exists by now is kept out of every later collection, and collections happen only when asked for."""
    gc.disable()
    gc.collect()
    gc.freeze()


def tidy_memory() -> None:
    """Collect what is young: an error that was handled is often a cycle, and memory that is locked must not grow."""
    gc.collect(0)

"""The priority of a beat's threads, and of the threads that these start, in a process of its own."""

import json
import os
import subprocess
import sys
import threading

import pytest

from gapless.sentinel.beat.priority import PRIORITY

BEAT = """
import json, os, queue, threading
from gapless.kernel.netns import in_own_thread
from gapless.sentinel.beat.priority import take_priority

def terms():
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority

work, told = queue.SimpleQueue(), []

def announcer():
    work.get()
    told.append(terms())
    told.append(in_own_thread(terms, "visit a namespace"))

thread = threading.Thread(target=announcer)
thread.start()
take_priority()
work.put(None)
thread.join()
print(json.dumps([terms(), *told]))
"""


def is_real_time_allowed() -> bool:
    allowed = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            allowed.append(True)
        except PermissionError:
            allowed.append(False)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return allowed[0]


@pytest.mark.skipif(not is_real_time_allowed(), reason="real-time priority is not allowed here")
def test_whoever_may_hold_pythons_lock_has_real_time_priority() -> None:
    """A visitor of a namespace runs Python: were it ordinary, a busy machine would keep the beat from the lock."""
    said = subprocess.run([sys.executable, "-c", BEAT], capture_output=True, text=True, check=True, timeout=60)
    beat, announcer, visitor = json.loads(said.stdout)
    assert beat == [os.SCHED_FIFO, PRIORITY]
    assert announcer == visitor == [os.SCHED_FIFO, PRIORITY - 1]

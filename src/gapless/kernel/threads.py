"""Threads of a process that must go on where the kernel gives it no more.

The rule: what a process cannot go on without has its threads from the beginning, so that a limit is met at the start,
and told, and not by a call that is lost later. (A look into a namespace takes a thread of its own, and can be missed.)
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from gapless.kernel import refusals


def started(workers: int, about: str, name: str = "") -> ThreadPoolExecutor:
    """A pool of so many threads, all of which run. Raises Unavailable, with what was tried, where there may be no more.

    An executor by itself starts a thread when it is given work; where that fails the work stays in its queue, and is
    done at some later time.
    """
    pool, are_there = ThreadPoolExecutor(workers, name), threading.Barrier(workers)
    try:
        for _ in range(workers):
            pool.submit(are_there.wait)
    except RuntimeError as error:  # all that Python says of it
        are_there.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise refusals.no_thread(about) from error
    return pool

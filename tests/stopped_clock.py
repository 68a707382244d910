"""An event loop whose clock stands still: whatever happens then has waited for no moment to come."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

PATIENCE_S = 20.0
"""Only a failing test waits that long."""


@contextlib.contextmanager
def stopped_clock() -> Iterator[None]:
    """No timer of the running loop goes off in the block; a test that waits for one fails."""
    loop, waiting = asyncio.get_running_loop(), asyncio.current_task()
    assert waiting is not None
    stands_at = loop.time()
    is_over = threading.Timer(PATIENCE_S, lambda: loop.call_soon_threadsafe(waiting.cancel))
    is_over.start()
    loop.time = lambda: stands_at  # type: ignore[method-assign]
    try:
        yield
    except asyncio.CancelledError:
        waiting.uncancel()
        pytest.fail("it did not come about at once")
    finally:
        del loop.time  # type: ignore[method-assign]
        is_over.cancel()

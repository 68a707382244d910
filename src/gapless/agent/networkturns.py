"""Work on one network takes turns: bridges and VXLAN devices are shared by routers that are worked on side by side.

The rule: a network has a lock as long as somebody has its turn or waits for it. So there are never more of them than
workers, however many networks come and go. Thread-safe.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from gapless.model.network import NetworkId


@dataclass(slots=True)
class _Turn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    """Who has it, and who waits for it."""


class NetworkTurns:
    """Of one host."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[NetworkId, _Turn] = {}

    @contextlib.contextmanager
    def of(self, network_id: NetworkId) -> Iterator[None]:
        """Have the turn of a network, once nobody else has it."""
        with self._guard:
            turn = self._turns.setdefault(network_id, _Turn())
            turn.users += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._guard:
                turn.users -= 1
                if not turn.users:
                    del self._turns[network_id]

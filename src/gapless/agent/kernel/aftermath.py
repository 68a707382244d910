"""What follows a repair of rules, and nobody is to wait for: flows are forgotten, and sockets are closed.

To close a socket of the family NETFILTER waits until the kernel is through with what transactions threw away, some
10 ms. And to look for one router's flows, the kernel goes through those of the whole machine, which takes as long. Of a
hundred routers that break at once, none is to wait for that of the others.

The rule: it is done of all that are taken, in turn; where `ROOM` wait, whoever brings the next one does it at once. An
agent that is killed before leaves flows that have no answer as they are: the next one finds the rules right.
"""

import contextlib
import threading
from collections import deque
from typing import Final

from gapless.agent.kernel import conntrack
from gapless.agent.kernel.observe import Inside
from gapless.errors import GaplessError
from gapless.kernel import refusals
from gapless.model.router import RouterId
from gapless.observe.log import get_logger

ROOM: Final = 100
"""Each keeps two descriptors, or three where rules had to be loaded as text, of the 1,024 that libnftables can use."""
_PATIENCE_S: Final = 3.0
"""For what is left when the agent ends."""


class Aftermath:
    """Thread-safe."""

    def __init__(self) -> None:
        """Raises Unavailable where there may be no thread for it."""
        self._change = threading.Condition()
        self._waiting: deque[tuple[RouterId, Inside, bool]] = deque()
        self._is_closed = False
        self._log = get_logger()
        self._thread = threading.Thread(target=self._run, name="aftermath", daemon=True)
        refusals.start(self._thread, "follow up repairs of rules")

    def take(self, router_id: RouterId, inside: Inside, *, forgets_unanswered: bool) -> None:
        """The rules of a router were mended: its sockets, which nobody uses from here on, are closed, and before that
        flows without an answer are forgotten (`operation.ForgetUnansweredFlows`), if they are to be.
        """
        inside.netlink.close()
        if inside.packets is not None:
            inside.packets.close()
        with self._change:
            if not self._is_closed and len(self._waiting) < ROOM:
                self._waiting.append((router_id, inside, forgets_unanswered))
                self._change.notify()
                return
        self._follow_up(router_id, inside, forgets_unanswered)

    def close(self) -> None:
        """Do what is left, and end."""
        with self._change:
            self._is_closed = True
            self._change.notify()
        self._thread.join(_PATIENCE_S)
        with self._change:
            left = [router_id for router_id, _, forgets in self._waiting if forgets]
        if left:
            self._log.warning("unanswered flows of routers could not be forgotten in time", routers=left)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                router_id, inside, forgets_unanswered = self._waiting.popleft()
            self._follow_up(router_id, inside, forgets_unanswered)

    def _follow_up(self, router_id: RouterId, inside: Inside, forgets_unanswered: bool) -> None:
        try:
            with contextlib.closing(inside):
                if forgets_unanswered:
                    conntrack.forget_unanswered(inside.tables)
        except GaplessError as error:
            self._log.warning("unanswered flows of a router are not forgotten", router=router_id, reason=str(error))
        except Exception:  # noqa: BLE001 - a bug met by one router, told with its story; the others' turns come
            self._log.exception("a bug in Gapless stopped the aftermath of one repair", router=router_id)

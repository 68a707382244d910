"""Namespaces of routers, held open, so that one whose name was taken away has it again.

Theory: `ip netns delete` takes a name away, and no more. The namespace lives for as long as anybody has it open, with
its interfaces, its rules and its connections, and goes on forwarding; to build the router anew would end all of that.
So it is enough to mount it on its name once more (network_namespaces(7)).

The rule: what is held was proven right by a look, and is let go before anything of the router is removed. A name that
is another namespace's by now stays that one's. Where nothing is held, as after a start in which nobody has looked yet,
a router without a name is built anew; where something is, and its name is not to be had now, nothing is: it forwards.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Collection
from typing import Final

from gapless.agent.kernel import netns
from gapless.agent.kernel.observe import Inside
from gapless.errors import Unavailable
from gapless.kernel import refusals
from gapless.kernel.limits import SELECT_MOST
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger

FIRST: Final = SELECT_MOST
"""Descriptors from here on: those below are left to libraries that stand no higher ones."""


class Held:
    """Those of one agent, for any thread."""

    def __init__(self) -> None:
        self._held: dict[RouterId, tuple[int, int]] = {}
        """Each with its namespace's number and a descriptor of it."""
        self._turn = threading.Lock()
        """A descriptor is used, or closed."""
        self._trouble = Ailment()
        self._log = get_logger()

    def __contains__(self, router_id: object) -> bool:
        return router_id in self._held

    def hold(self, router_id: RouterId, inside: Inside) -> None:
        """Hold the router's namespace, in which these sockets are, and no other."""
        if inside.namespace == self._held.get(router_id, (None, 0))[0]:
            return
        self.forget((router_id,))
        try:
            with refusals.told("hold a namespace"):
                held = inside.namespace, _above(FIRST, inside.netlink.open_namespace())
        except Unavailable as error:
            what = "a namespace whose name is deleted would be built anew"
            self._trouble.persists(self._log.warning, what, reason=str(error))
            return
        self._trouble.ends(self._log.info, "namespaces are held again")
        self._held[router_id] = held

    def give_back(self, router_id: RouterId) -> bool:
        """Give the namespace that is held its name again, if that is nobody's; whether it was done. Raises Unavailable
        where that is not to be had now: somebody is removing the file of that name, say.
        """
        path = netns.path_of(router_id)
        with self._turn:
            if router_id not in self._held or netns.is_namespace(path):
                return False
            netns.give_name(path, self._held[router_id][1])
        return True

    def give_all_back(self, named: Collection[RouterId]) -> frozenset[RouterId]:
        """The same of all but those that have a name; of which it was done. What fails is for the next look."""
        given = set()
        for router_id in self._held.keys() - named:
            try:
                if self.give_back(router_id):
                    given.add(router_id)
            except Unavailable:
                continue
        return frozenset(given)

    def forget(self, routers: Collection[RouterId]) -> None:
        """Let go of these routers' namespaces."""
        with self._turn:
            for router_id in routers:
                if (held := self._held.pop(router_id, None)) is not None:
                    os.close(held[1])

    def close(self) -> None:
        """Let go of all."""
        self.forget(tuple(self._held))


def _above(first: int, descriptor: int) -> int:
    """The same file, under a number from there on instead of this one. Raises OSError."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, first)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error  # No number is as high.
    finally:
        os.close(descriptor)

"""Whether this host's guard stands. It is the beat's (`sentinel.beat.guard`); the agent only builds behind it.

The rule: nothing of a guarded router is set up where no guard would close it. What is built there would forward, and
answer ARP, beside the host that has the router active. A guard that somebody removes later is the beat's to put back;
where it cannot, the sentinel sets down what is not open (`sentinel.keeper`), and here that is set up when it could.
"""

from collections.abc import Iterable

from gapless.agent.kernel import tables
from gapless.errors import Unavailable
from gapless.kernel.netlink import NETFILTER, Lent
from gapless.kernel.ownership import Owner, owner
from gapless.model.observed import GUARD_MARKS, GUARD_TABLE
from gapless.model.operation import CreatePair, Operation, Plug, RaiseHostLink, RaiseLink

_SETS_UP = CreatePair | Plug | RaiseHostLink | RaiseLink
"""What may be what lets the first frame out."""


class GuardWatch:
    """Looks whether the guard of the calling threads' namespace, the host's, stands. Thread-safe. Raises Unavailable
    where the kernel gives no socket, or does not answer.

    It keeps its sockets: to close one of this family waits for what the host's last transactions threw away.
    """

    def __init__(self) -> None:
        self._hosts = Lent(NETFILTER)

    def close(self) -> None:
        """Look no more."""
        self._hosts.close()

    def require_for(self, plan: Iterable[Operation]) -> None:
        """Raise Unavailable where a plan for a guarded router sets something up, and the guard does not stand."""
        if any(isinstance(operation, _SETS_UP) for operation in plan) and not self._stands():
            raise Unavailable(
                f"the guard (nftables table bridge {GUARD_TABLE}) does not stand on this host, so no guarded router is "
                "set up here: its frames would pass beside those of the host that has it active"
            )

    def _stands(self) -> bool:
        """Whether there is a guard. A stranger's table of that name is none; the beat says what to do about it."""
        with self._hosts.one() as host:
            is_ours = owner(host, GUARD_TABLE, GUARD_MARKS) is Owner.GAPLESS
            return is_ours and tables.is_awake(host, tables.BRIDGE, GUARD_TABLE)

"""The control links that are open now, at most one a host."""

from collections.abc import Iterator, Set

from gapless.controller.session import Session
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire.messages import Bury


class Sessions:
    """Open sessions by host name. A new session of a host ends the one before."""

    def __init__(self) -> None:
        self._open: dict[HostName, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._open.values()))

    def add(self, session: Session) -> None:
        """From now on this is its host's session."""
        if before := self._open.get(session.host):
            before.end("replaced", "the host opened a new control link")
        self._open[session.host] = session

    def discard(self, session: Session) -> bool:
        """The session is over; false if another one has taken its place meanwhile."""
        if self._open.get(session.host) is not session:
            return False
        del self._open[session.host]
        return True

    def wake(self, host: HostName) -> None:
        """What the host should run may have changed."""
        if session := self._open.get(host):
            session.wake()

    def ask(self, host: HostName, question: Bury) -> None:
        """Put a question to the host, if it has a link."""
        if session := self._open.get(host):
            session.ask(question)

    def look_at(self, changed: Set[RouterId]) -> None:
        """These routers should be built otherwise than before, wherever they run."""
        for session in self:
            session.look_at(changed)

    def end(self, host: HostName, cause: str, reason: str) -> None:
        """Close the host's link, if it has one."""
        if session := self._open.get(host):
            session.end(cause, reason)

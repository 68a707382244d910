"""Room for other hosts' connections: this kernel tracks as many of a router as those do that it may succeed.

Theory: what has no room in a standby's table survives no takeover by it. A kernel's limit is one figure for the
machine, and each namespace is counted by it; so a router has as much room here as there once both figures are the same.

The rule: it is raised, to the most that a source says which is followed, and never lowered: not when that source says
less, nor when nobody is followed any more. What an operator lowers is raised again, unless he says that it is his
(`gapless host --no-raise-conntrack-max`). What cannot be raised from here, as in any network namespace but the
machine's first, is said once for each figure, with what helps.
"""

from pathlib import Path

from gapless.kernel import tracked
from gapless.model.host import HostName
from gapless.observe.log import get_logger


class Room:
    """Of one machine."""

    def __init__(self, *, may_raise: bool, file: Path = tracked.FILE) -> None:
        self._may_raise, self._file = may_raise, file
        self._said: dict[HostName, int] = {}
        """How many each source tracks of a router at most, by its last word."""
        self._refused: int | None = None
        """What could not be raised to last; it is tried again, and said once."""
        self._log = get_logger()

    @property
    def most(self) -> int | None:
        """How many connections of a router there is room for; None: none are tracked yet, or there is no limit."""
        return tracked.most(self._file)

    def source_has(self, source: HostName, most: int) -> None:
        """A host that is followed says how many it tracks."""
        self._said[source] = most
        self.look()

    def forget(self, source: HostName) -> None:
        """That host is not followed any more."""
        self._said.pop(source, None)

    def look(self) -> None:
        """Converge."""
        if not self._may_raise or not self._said:
            return
        source, wanted = max(self._said.items(), key=lambda said: said[1])
        most = self.most
        if most is None or wanted <= most:
            return
        try:
            tracked.allow(wanted, self._file)
        except OSError as error:
            if wanted == self._refused:
                return
            self._refused = wanted
            self._log.warning(
                f"this machine's kernel tracks {most} connections of a router at most, and {source}, whose routers it "
                f"may take over, {wanted}, and that cannot be raised from here; the others survive no takeover by this "
                f"host:  sudo sysctl -w net.netfilter.nf_conntrack_max={wanted}",
                reason=error.strerror,
            )
            return
        self._refused = None
        self._log.info(
            "this machine's kernel tracks more connections of a router than before: as many as a host whose routers it "
            "may take over",
            before=most,
            now=wanted,
            source=source,
        )

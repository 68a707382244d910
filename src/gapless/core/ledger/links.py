"""One host's control link: whether it is open, and how much was said in it.

The rule: what was said in an earlier connection is not heard any more; whatever of it still holds is said again.
"""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class LinkRecord:
    """Of one host."""

    is_open: bool = False
    session: int = 0
    """Names the connection."""
    heard: int = 0
    """The number of the last report in it."""
    has_told_all: bool = False
    """All that is there was told in it; else what is known of the host's routers is from before."""

    def opened(self, session: int) -> None:
        """Another connection than before."""
        self.is_open, self.session = True, session
        self.heard, self.has_told_all = 0, False

    def closed(self) -> None:
        """It is over. What was said in it is known still."""
        self.is_open = False

"""Whether routers' namespaces may be others than they were: asked of the directory of their names, and not of each.

Theory: a namespace has a name by a file in one directory, and a file that comes or goes changes the directory. So one
look at that tells of a thousand names.

The rule: after a change that was seen, all are looked at twice. A namespace gets its file a moment before it is mounted
there, and two changes within a tick of the kernel's clock leave one time behind. What changes and does not change the
directory, as when somebody unmounts a name and leaves its file, is found by a look at all each `SURE_S`.
"""

from math import inf
from pathlib import Path

from gapless.kernel.netns import DIRECTORY

SURE_S = 10.0


class Names:
    """Of one host. `now` is monotonic seconds."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._directory = directory
        self._changed_at: int | None = None
        """When the directory had changed last, at the last look; None: there was none."""
        self._was_news = False
        self._looked_at = -inf
        """When all were to be looked at last."""

    def may_differ(self, now: float) -> bool:
        """Whether all are to be looked at now."""
        changed_at = self._time_of_change()
        is_news, self._changed_at = changed_at != self._changed_at, changed_at
        is_due = is_news or self._was_news or now - self._looked_at >= SURE_S
        self._was_news = is_news
        if is_due:
            self._looked_at = now
        return is_due

    def _time_of_change(self) -> int | None:
        try:
            return self._directory.stat().st_mtime_ns
        except OSError:
            return None

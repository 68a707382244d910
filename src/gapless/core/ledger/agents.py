"""One host's agent, as far as it was heard of: whether one runs, and whether one has worked lately.

What follows from that for routers, and which causes are common ones: `planner.agentless`, with the theory.

The rule: an agent works once it has run for a while (`STEADY_S`), and does not when none has for longer than patience
allows. Only what was heard counts. One that is found running after such a while in which nobody could hear of it may
have run all the while, and is taken at its word.
"""

from dataclasses import dataclass
from math import inf

from gapless.model.host import AgentState

STEADY_S = 15.0
"""An agent that has run for so long works. One that ends again before that is as good as none. (Or for half of the
patience, if that is less.) It is longer than a sentinel waits for a word from an agent that hangs (11 s,
`sentinel.supervise`): one that falls silent as soon as it has begun is running until then, and does not work. One that
says that it is alive while a job of it hangs in the kernel runs for two minutes, and is taken for one that works."""


@dataclass(slots=True, kw_only=True)
class AgentRecord:
    """Of one host."""

    state: AgentState | None = None
    """None until the first report of this connection."""
    trouble: str = ""
    """Why the last one ended, as long as none has run steadily since."""
    runs_since: float | None = None
    """Since when it is known to run; None: it does not, or that was not said in this connection."""
    lacks_since: float | None = None
    """Since when none has run steadily, as far as that counts; None: one does, or nothing is known."""
    presumed_until: float = -inf
    """One that is found running until then is presumed to have run steadily: nobody could hear of it for long."""
    works: bool = True
    """False: none has for long, so the host is agentless."""

    def connected(self, unheard_s: float | None, now: float, *, is_restarted: bool) -> None:
        """A control link is open. What the agent did while there was none is not known, so that does not count; and
        where the host itself was restarted meanwhile, nor does what was before, unless that was too long already.
        """
        self.state = self.runs_since = None
        if is_restarted and self.works:
            self.lacks_since = None
        if unheard_s is not None:
            self._was_unheard(unheard_s, now)

    def heard(self, state: AgentState, reason: str, now: float) -> bool:
        """The host says how it is, and why; whether that is news."""
        is_news, self.state = self.state is not state, state
        self.trouble = reason or self.trouble
        if state is not AgentState.RUNNING:
            self.runs_since = None
            if self.lacks_since is None:
                self.lacks_since = now
            return is_news
        if self.runs_since is None:
            self.runs_since = now
        if now <= self.presumed_until and self.works:
            self.lacks_since = None
        return is_news

    def excuse(self, seconds: float, now: float) -> None:
        """Nobody could have been heard for so long until now: that counts neither way."""
        self._was_unheard(seconds, now)
        if self.runs_since is not None:
            self.runs_since = min(now, self.runs_since + seconds)

    def judge(self, now: float, *, steady_s: float, patience_s: float) -> bool:
        """Whether it began to work, or ceased to, with the time."""
        if self.runs_since is not None and now - self.runs_since >= steady_s:
            self.lacks_since, self.trouble = None, ""
        before = self.works
        self.works = self.lacks_since is None or (before and not self._is_too_long(now - self.lacks_since, patience_s))
        return self.works is not before

    def lasts_s(self, now: float) -> float | None:
        """For how long none has worked, from when the last one stopped; None: it works, or has not stopped for long."""
        return None if self.works or self.lacks_since is None else now - self.lacks_since

    def _was_unheard(self, seconds: float, now: float) -> None:
        if self.lacks_since is not None:
            self.lacks_since = min(now, self.lacks_since + seconds)
        if seconds >= STEADY_S:
            self.presumed_until = now + STEADY_S

    def _is_too_long(self, lacks_s: float, patience_s: float) -> bool:
        """One that runs just now gets its time to show that it works."""
        return lacks_s >= patience_s and self.state is not AgentState.RUNNING

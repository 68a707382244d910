"""What the agent's log says of its work: decided where the decision is made, written by the shell.

The rule: one line for each router that was built, changed or repaired; those that were adopted as they ran, or removed,
are counted, and told in one line when the last of them is done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import shorten

from gapless.agent.entry import Entry
from gapless.agent.jobs import Done, Reconcile, Why
from gapless.core.dataplane.gateways import Deafness
from gapless.model.plan import Epoch
from gapless.model.router import RouterId
from gapless.observe.words import counted

WHAT_LETTERS = 500
"""Of what was changed: the first operations name the cause, the rest follows from it."""

NAMED = 5
"""Routers in one line. Who looks for one that left knows its name, and finds its new host in `gapless status`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One log line."""

    text: str
    is_warning: bool = False
    fields: Mapping[str, object] = field(default_factory=dict)


def in_brief(what: str) -> str:
    """What was changed, cut to what a line has room for."""
    return shorten(what, WHAT_LETTERS, placeholder=" ...")


class Lines:
    """Those that were not written yet, and what is counted until it is told."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._removed: list[RouterId] = []
        self._adopted = 0

    def take(self) -> list[Line]:
        """Everything since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def say(self, text: str, *, is_warning: bool = False, **fields: object) -> None:
        """One line."""
        self._lines.append(Line(text=text, is_warning=is_warning, fields=fields))

    def adopted(self) -> None:
        """A router runs as it should, and nothing had to be done."""
        self._adopted += 1

    def tell_adopted(self) -> None:
        """All that an earlier agent left were looked at."""
        if self._adopted:
            self.say(f"adopted {counted(self._adopted, 'router')}; nothing had to be changed")
            self._adopted = 0

    def removed(self, router_id: RouterId) -> None:
        """Nothing is left of a router that is no longer this host's."""
        self._removed.append(router_id)

    def tell_removed(self) -> None:
        """All that are to go were tried."""
        if self._removed:
            count = counted(len(self._removed), "router")
            named, others = self._removed[:NAMED], len(self._removed) - NAMED
            and_others = f" and {others:,} more" if others > 0 else ""
            self.say(f"removed {count} no longer this host's: {', '.join(named)}{and_others}")
            self._removed.clear()

    def deafness(self, router_id: RouterId, epoch: Epoch, found: Deafness) -> None:
        """What is concluded of a router that is as it should be in every setting."""
        if not found.why:
            self.say("router hears its gateway again", router=router_id, epoch=epoch)
            return
        text = "router does not hear its gateway"
        if found.is_given_up:
            text = "router still does not hear its gateway, and is given up here"
        self.say(text, is_warning=True, router=router_id, epoch=epoch, reason=found.why)

    def changed(self, entry: Entry, job: Reconcile, done: Done, *, is_build: bool) -> None:
        """Something of a router was brought to what it should be."""
        text = "router built" if is_build else "router changed as planned"
        fields: dict[str, object] = {"router": entry.id, "epoch": entry.epoch}
        if is_build and done.times is not None:
            fields["after_plan_ms"] = done.times.verified_ms
        else:
            fields["what"] = in_brief(done.what) or None
        # What an earlier agent left, and the first plan says otherwise: it drifted while nobody looked.
        is_repair = job.why is not Why.PLAN or (entry.is_as_found and not is_build)
        self.say("router repaired in place" if is_repair else text, is_warning=is_repair, **fields)

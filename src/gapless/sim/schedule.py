"""The faults of one fleet, by number: so that a seed can be lived through again without some of them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from gapless.sim.agenda import Agenda


@dataclass(slots=True, kw_only=True)
class Scheduled:
    """A fault that was put down."""

    number: int
    """Counted from 1 as they are put down, left out or not: the same in each run of a seed."""
    at: float
    what: str
    is_left_out: bool = False
    has_happened: bool = False
    struck: list[str] = field(default_factory=list)
    """Whom, in the words of the story."""

    def __str__(self) -> str:
        whom = f": {', '.join(self.struck)}" if self.struck else ""
        return f"{self.number:4} {self.at:9.3f} {self.what}{whom}"


class Schedule:
    """What happens when, and what of it is left out."""

    def __init__(self, agenda: Agenda) -> None:
        self.faults: list[Scheduled] = []
        self.without: Collection[int] = ()
        """The numbers of those that are left out."""
        self._agenda = agenda
        self._present: Scheduled | None = None

    def put(self, at: float, what: str, happen: Callable[[], None]) -> None:
        """Put down one more."""
        number = len(self.faults) + 1
        fault = Scheduled(number=number, at=at, what=what, is_left_out=number in self.without)
        self.faults.append(fault)
        if not fault.is_left_out:
            self._agenda.at(at, partial(self._happen, fault, happen))

    def struck(self, line: str) -> None:
        """Said by the fault that happens now, if one does: not by what follows later from one."""
        if self._present is not None:
            self._present.struck.append(line)

    def _happen(self, fault: Scheduled, happen: Callable[[], None]) -> None:
        fault.has_happened = True
        self._present = fault
        happen()
        self._present = None

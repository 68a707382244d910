"""A control link, made up: messages arrive in order and a little later, until it breaks, and then none does."""

from collections.abc import Callable
from itertools import count

from gapless.sim.agenda import Agenda

_NUMBERS = count(1)


class Session:
    """One connection. A cut cable breaks it for good; the host then opens another."""

    def __init__(self, agenda: Agenda, delay_s: float) -> None:
        self._agenda = agenda
        self._delay_s = delay_s
        self.number = next(_NUMBERS)
        self.is_broken = False

    def carry(self, deliver: Callable[[], None]) -> None:
        """Call `deliver` after the delay, if the session still stands then. The delay is constant, so order is kept."""
        self._agenda.after(self._delay_s, lambda: None if self.is_broken else deliver())

    def break_off(self) -> None:
        """Nothing more arrives, not even what is on its way."""
        self.is_broken = True

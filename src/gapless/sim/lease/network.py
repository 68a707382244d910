"""The data network: datagrams arrive after a while, in any order, twice, or not at all."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from gapless.model.host import HostName
from gapless.model.lease import Datagram
from gapless.sim.agenda import Agenda


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to a datagram on its way."""

    loss: float
    """The share that is lost."""
    late: float
    """The share that is delayed by up to `late_s` more."""
    late_s: float
    twice: float
    """The share that arrives again, up to `late_s` later."""


class Network:
    """Every host reaches every other, as long as nobody cuts the way there."""

    def __init__(self, agenda: Agenda, random: Random, delay_s: tuple[float, float]) -> None:
        self._agenda = agenda
        self._random = random
        self._shortest_s, longest_s = delay_s
        self._spread_s = longest_s - self._shortest_s
        self._receivers: dict[HostName, Callable[[Datagram], None]] = {}
        self._cuts: Counter[tuple[HostName, HostName]] = Counter()
        self.slow: dict[HostName, float] = {}
        """What is sent to these takes so much longer."""
        self.weather: Weather | None = None
        self.clear_since = 0.0
        """When the last datagram that was sent in bad weather had arrived."""

    def attach(self, host: HostName, receive: Callable[[Datagram], None]) -> None:
        """What arrives for a host goes there."""
        self._receivers[host] = receive

    def send(self, sender: HostName, to: HostName, datagram: Datagram) -> None:
        """A datagram leaves. A cut way swallows it now; one that is cut later lets it through."""
        if self._cuts and self._cuts[sender, to]:
            return
        random = self._random.random
        delay_s = self._shortest_s + self._spread_s * random() + self.slow.get(to, 0.0)
        if (weather := self.weather) is not None:
            if random() < weather.loss:
                return
            if random() < weather.late:
                delay_s += weather.late_s * random()
            if random() < weather.twice:
                self._agenda.after(delay_s + weather.late_s * random(), partial(self._receivers[to], datagram))
        self._agenda.after(delay_s, partial(self._receivers[to], datagram))

    def cut(self, sender: HostName, to: HostName) -> None:
        """One way; several cuts of one way add up."""
        self._cuts[sender, to] += 1

    def mend(self, sender: HostName, to: HostName) -> None:
        """One cut less."""
        self._cuts[sender, to] -= 1

    def is_cut(self, sender: HostName, to: HostName) -> bool:
        """Whether nothing gets through that way."""
        return sender != to and self._cuts[sender, to] > 0

    def begin(self, weather: Weather) -> None:
        """Bad weather, from now on."""
        self.weather = weather
        self.clear_since = float("inf")

    def clear_up(self) -> None:
        """Good weather again."""
        if self.weather is not None:
            self.clear_since = self._agenda.now + 2 * self.weather.late_s
            self.weather = None

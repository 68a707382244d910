"""The monotonic clock of one machine: a little too fast or too slow, and begun at any number."""


class Clock:
    """`rate` seconds pass on it in a second of real time."""

    def __init__(self, rate: float, *, began: float, shows: float) -> None:
        self._rate = rate
        self._began = began
        self._shows = shows

    def local(self, real: float) -> float:
        """What it shows at a real time."""
        return self._shows + (real - self._began) * self._rate

    def real(self, local: float) -> float:
        """When it shows that."""
        return self._began + (local - self._shows) / self._rate

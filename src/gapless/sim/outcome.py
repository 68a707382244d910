"""How a seed went, whichever the simulation."""

from dataclasses import dataclass

from gapless.sim.schedule import Scheduled


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a seed went. `violation` is "" if every oracle held."""

    seed: int
    violation: str
    faults: list[Scheduled]
    """All of them, with those that were left out."""
    story: list[str]
    count: int
    """Of what the simulation is about: bindings that were made, or takeovers."""
    virtual_s: float

    @property
    def said(self) -> str:
        """The violation, without what follows of the story."""
        return self.violation.partition("\n")[0]

    @property
    def oracle(self) -> str:
        """Which one was violated; of another error its words, but for names and numbers."""
        if self.said.startswith("oracle "):
            return self.said.partition(":")[0]
        return " ".join(word for word in self.said.split() if word.strip("(,:;)").isalpha())

    @property
    def needed(self) -> list[Scheduled]:
        """The faults that were not left out."""
        return [fault for fault in self.faults if not fault.is_left_out]

    @property
    def without(self) -> frozenset[int]:
        """The numbers of those that were."""
        return frozenset(fault.number for fault in self.faults if fault.is_left_out)

    @property
    def unused(self) -> frozenset[int]:
        """The numbers of those that did not happen: left out, or to come after the violation."""
        return frozenset(fault.number for fault in self.faults if not fault.has_happened)

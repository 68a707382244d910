"""What people were told of one host last, so that they are told only what is news.

The rule: its standing, and the troubles of its agent and its ways out, are told when they change, what it says that
should not be once in each connection.
"""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Told:
    """Of one host."""

    standing: str = "expected"
    trouble: str = ""
    """What is wrong with its agent and its ways out."""
    ahead: bool = False
    """That it knows a higher epoch than the store."""
    leftovers: bool = False
    """That it has routers still that are bound elsewhere, or deleted."""

    def connected(self) -> None:
        """What it says is told once more."""
        self.ahead = self.leftovers = False

    def is_news(self, standing: str, trouble: str) -> bool:
        """Whether this is to be told; it is taken for told then."""
        before = self.standing, self.trouble
        self.standing, self.trouble = standing, trouble
        return before != (standing, trouble)

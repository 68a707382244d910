"""What people were told of one host last, so that they are told only what is news.

The rule: its standing and its agent's trouble are told when they change, what it says that should not be once in each
connection.
"""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Told:
    """Of one host."""

    standing: str = "expected"
    agent: str = ""
    """What is wrong with its agent."""
    ahead: bool = False
    """That it knows a higher epoch than the store."""
    leftovers: bool = False
    """That it has routers still that are bound elsewhere, or deleted."""

    def connected(self) -> None:
        """What it says is told once more."""
        self.ahead = self.leftovers = False

    def is_news(self, standing: str, agent: str) -> bool:
        """Whether this is to be told; it is taken for told then."""
        before = self.standing, self.agent
        self.standing, self.agent = standing, agent
        return before != (standing, agent)

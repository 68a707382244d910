"""What stays wrong is said once, then now and then, and once when it is over."""

from dataclasses import dataclass, field
from typing import Any

from gapless.observe.ailment import Ailment


@dataclass
class Said:
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, what: str, **fields: Any) -> None:
        self.lines.append((what, fields))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        taken, self.lines = self.lines, []
        return taken


def test_it_is_said_when_it_begins_now_and_then_and_when_it_ends() -> None:
    now, said = [100.0], Said()
    ailment = Ailment(remind_s=60, clock=lambda: now[0])

    ailment.ends(said, "the disk has room again")
    assert said.take() == [], "nothing was wrong"
    for second in range(150):
        now[0] = 100.0 + second
        ailment.persists(said, "the disk is full", reason="no space")
    assert said.take() == [
        ("the disk is full", {"reason": "no space"}),
        ("the disk is full", {"reason": "no space", "for_s": 60}),
        ("the disk is full", {"reason": "no space", "for_s": 120}),
    ]
    now[0] = 260.0
    ailment.ends(said, "the disk has room again")
    ailment.ends(said, "the disk has room again")
    assert said.take() == [("the disk has room again", {"for_s": 160})]

    ailment.persists(said, "the disk is full")
    assert said.take() == [("the disk is full", {})], "news again"

"""What is believed for a while, and what never is."""

from gapless.agent.believed import Believed


class Looking:
    """Somebody who looks, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.there: str | None = "this"
        self.looks = 0
        self.believed = Believed[str, str](10.0, now=lambda: self.now)

    def look(self) -> str | None:
        self.looks += 1
        return self.there

    def ask(self, key: str = "key") -> str | None:
        return self.believed.of(key, self.look)


def test_it_is_looked_again_when_the_time_is_over() -> None:
    it = Looking()
    assert [it.ask(), it.ask()] == ["this", "this"]
    it.there, it.now = "that", 1009.9
    assert it.ask() == "this"
    assert it.looks == 1
    it.now = 1010.0
    assert it.ask() == "that"
    assert it.looks == 2


def test_what_is_not_there_is_looked_for_anew() -> None:
    it = Looking()
    it.there = None
    assert it.ask() is None
    it.there = "this"
    assert it.ask() == "this"
    it.there, it.now = None, 1010.0
    assert it.ask() is None
    assert it.ask() is None
    assert it.looks == 4


def test_what_is_doubted_is_looked_at_anew() -> None:
    it = Looking()
    it.ask()
    it.there = "that"
    it.believed.doubt()
    assert it.ask() == "that"


def test_each_is_believed_by_itself() -> None:
    it = Looking()
    it.ask()
    it.there = "that"
    assert [it.ask("other"), it.ask()] == ["that", "this"]

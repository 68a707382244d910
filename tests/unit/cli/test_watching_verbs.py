"""How verbs end that watch or release what others change meanwhile. The controller's answers are given, in order."""

from importlib import import_module
from typing import Any

import pytest
from verb_rig import Run, Said

from gapless.cli import main

Item = dict[str, Any]


@pytest.fixture
def answered(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A verb that is answered so, and whose waiting takes no time."""

    def call(answers: list[Item], verb: str, *arguments: str) -> Said:
        def answer(*_: object, **__: object) -> Item:
            return answers.pop(0)

        module = import_module(main.module_of(verb))
        for name in {"get", "get_patiently", "put"} & vars(module).keys():
            monkeypatch.setattr(module, name, answer)
        monkeypatch.setattr("time.sleep", lambda _: None)
        return run(verb, *arguments)

    return call


def drain(*, admin_up: bool, routers: int) -> Item:
    return {
        "drain": {"host": "h1", "admin_state_up": admin_up, "routers": routers}
        | {"leaving": 0, "on_their_way": 0, "stuck": {}}
    }


def brake(*hosts: str) -> Item:
    return {"brake": {"engaged": bool(hosts), "hosts": hosts, "reason": "so many look dead" if hosts else ""}}


def test_a_drain_that_somebody_takes_back_does_not_go_on_for_ever(answered: Run) -> None:
    unheard, begun, back = (drain(admin_up=up, routers=left) for up, left in ((True, 3), (False, 2), (True, 2)))
    said = answered([{}, unheard, begun, back], "drain", "h1")
    assert said.status == 1
    assert said.err == "h1 was put back into service meanwhile, with 2 routers: it is not drained.\n"


def test_a_drain_ends_once_nothing_is_left(answered: Run) -> None:
    said = answered([{}, drain(admin_up=True, routers=1), drain(admin_up=False, routers=0)], "drain", "h1")
    assert (said.status, said.err) == (0, "")
    assert "h1 is drained: nothing is left there, and it can be switched off" in said.out


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_brake_that_is_on_again_was_not_released(answered: Run, arguments: tuple[str, ...]) -> None:
    said = answered([brake("h1", "h2"), brake("h3", "h4")], "brake", "release", "--yes", *arguments)
    assert said.status == 1
    assert "on again: look at the others too" in said.err
    assert "h3" in said.out


def test_a_brake_that_was_released_is_off(answered: Run) -> None:
    said = answered([brake("h1", "h2"), brake()], "brake", "release", "--yes")
    assert (said.status, said.err) == (0, "")
    assert "Released for h1, h2" in said.out

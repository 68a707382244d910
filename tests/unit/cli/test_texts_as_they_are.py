"""What users, hosts and kernels have in their names and reasons is shown by every verb as it is."""

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest

from gapless.cli import main

TEXTS = ["[bold]x", "[/]", "[x](y)[/red]", ":door:", "[link=z]", "\\[a]"]
NAME = "a\u202eb\u2066c\u200dd\x1b[2Je\u2028"
"""Of a router: with what turns the direction of writing, joins letters, clears a terminal and ends a line."""
STEP = {"step": "decided", "at": "2026-01-31T12:00:00Z", "after_ms": None, "since_ms": 0.0}
ID = "00000000-ab59-42d6-a4a5-5bd4b3b1b1a1"


def answers(text: str) -> dict[str, Any]:
    """What the controller says to each question, every free text in it being this one."""
    host = {"name": text, "standing": "alive", "routers": 1, "heard_at": None, "reason": text}
    move = {"router_id": ID, "router_name": text, "epoch": 1, "kind": "drain", "from_host": text, "to_host": text}
    told = {"reason": text, "detail": text, "outcome": "confirmed", "total_ms": 1.0, "cause": text, "timeline": [STEP]}
    router = {"router_id": ID, "name": text, "host": text, "epoch": 1, "state": "waiting", "health": "broken"}
    place = {"ailment": f"{text}!", "reason": text, "damped_s": 60.0, "standbys": [{"host": text, "state": "ready"}]}
    arbiter = {"name": text, "panels": [text], "heard": True, "heard_at": None, "standing": text}
    drain = {"host": text, "admin_state_up": False, "routers": 1, "leaving": 0, "on_their_way": 0, "stuck": {ID: text}}
    return {
        "hosts": [host | {"holds_lease": True, "without_lease_s": None, "arbiter": True, "tracked_most": None}],
        "routers": [router | place],
        "brake": {"engaged": True, "hosts": [text], "reason": text},
        "failovers": [move | told],
        "arbiters": {"version": 1, "floor": 1, "level": "single", "holders": [text], "lost": False, "reason": text}
        | {"arbiters": [arbiter | {"confirmed_off": False}]},
        "rebalance": [{"router_id": ID, "from_host": text, "to_host": text, "is_ready": True}],
        "prospects": [{"router_id": ID, "kind": "stuck", "host": None, "reason": text}],
        "drain": drain,
        "confirm-off": {},
    }


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("verb", "arguments", "times"),
    [
        ("status", (), 8),
        ("failovers", (), 3),
        ("failovers", ("show", ID), 6),
        ("brake", (), 2),
        ("brake", ("release", "--yes"), 4),  # on before it and still: more hosts look dead
        ("arbiters", (), 5),
        ("rebalance", ("--dry-run",), 2),
        ("drain", ("HOST", "--dry-run"), 3),
        ("drain", ("HOST", "--timeout", "0"), 5),
        ("undrain", ("HOST",), 1),
        ("confirm-off", ("HOST", "--dry-run"), 1),
    ],
)
def test_a_text_in_brackets_is_no_mark(
    verb: str,
    arguments: tuple[str, ...],
    times: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = printed(answers(text), monkeypatch, capsys, verb, *(text if each == "HOST" else each for each in arguments))
    assert shown.count(text) == times


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("status", ()),
        ("failovers", ()),
        ("failovers", ("show", ID)),
        ("failovers", ("show", NAME)),  # it means two routers, and is refused
        ("drain", ("x", "--dry-run")),
    ],
)
def test_nothing_of_a_name_is_obeyed_by_a_terminal(
    verb: str,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The names that the API takes have no control characters; all that it may ever have stored is escaped."""
    known = answers("x")
    (router,), (move,) = known["routers"], known["failovers"]
    known["routers"] = [router | {"name": NAME}, router | {"name": NAME, "router_id": ID.replace("0", "1")}]
    known["failovers"] = [move | {"router_name": NAME}]
    shown = printed(known, monkeypatch, capsys, verb, *arguments)
    assert [line for line in shown.split("\n") if not line.isprintable()] == []
    assert "a?b?c?d?[2Je?" in shown


def printed(
    known: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    *arguments: str,
) -> str:
    """What a verb says, the controller's answers being these."""
    module = import_module(main.module_of(verb))

    def said(_: str, path: str, *__: object, **___: object) -> dict[str, Any]:
        what = path.rpartition("/")[2]
        return {what: known[what]}

    tell: Callable[..., Any] = said
    for name in {"get", "get_patiently", "put"} & vars(module).keys():
        monkeypatch.setattr(module, name, tell)
    if hasattr(module, "host_path"):
        monkeypatch.setattr(module, "host_path", lambda _, what: what)  # else no host is called so
    monkeypatch.setattr("gapless.cli.routers.get", tell)
    monkeypatch.setattr(sys, "argv", ["gapless", verb, *arguments])
    with suppress(SystemExit):
        main.main()
    shown = capsys.readouterr()
    return shown.out + shown.err

"""What verbs of operators say where there is no controller, or where what they were given cannot be."""

import http.server
import threading
from pathlib import Path

import pytest
from verb_rig import Run

NOBODYS_PORT = 1
"""Of TCPMUX, which nobody runs."""


@pytest.mark.parametrize("verb", [("status",), ("failovers",), ("failovers", "show", "edge"), ("brake", "release")])
def test_without_a_controller_there_is_one_line_that_says_what_to_do(run: Run, verb: tuple[str, ...]) -> None:
    api = f"http://127.0.0.1:{NOBODYS_PORT}"
    said = run(*verb, "--api", api)

    assert said.status == 1
    (line,) = said.err.splitlines()
    assert f"the controller at {api} cannot be reached" in line
    assert "is `gapless server` running there?" in line


def test_a_url_that_is_none_is_named(run: Run) -> None:
    said = run("status", "--api", "10.0.0.1:9696")

    assert said.status == 1
    assert "'10.0.0.1:9696' is not the URL of an API: write http://HOST:PORT" in said.err


def test_a_url_with_tls_says_that_there_is_none(run: Run) -> None:
    said = run("status", "--api", f"https://127.0.0.1:{NOBODYS_PORT}")

    assert said.status == 1
    assert "it speaks HTTP without TLS, unless a proxy does that for it" in said.err


@pytest.mark.parametrize("verb", ["failovers", "brake"])
def test_a_command_that_there_is_not_is_named(run: Run, verb: str) -> None:
    said = run(verb, "edge")
    assert said.status == 2
    assert "No such command 'edge'." in said.err


def test_an_option_before_the_verb_is_told_its_place(run: Run) -> None:
    said = run("--api", "http://127.0.0.1:9696", "status")
    assert said.status == 2
    assert said.err.startswith("gapless: options come after the verb\n\ngapless ")


def test_something_else_that_listens_there_is_no_controller(run: Run) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        serving = threading.Thread(target=other.handle_request)
        serving.start()
        said = run("status", "--api", f"http://127.0.0.1:{other.server_port}")
        serving.join()

    assert said.status == 1
    assert "is no Gapless controller (HTTP 501)" in said.err


@pytest.mark.parametrize(
    "verb",
    [
        ("server",),
        ("status",),
        ("failovers",),
        ("failovers", "show"),
        ("brake",),
        ("arbiters",),
        ("confirm-off",),
        ("drain",),
        ("undrain",),
        ("rebalance",),
    ],
)
def test_help_teaches_with_examples(run: Run, verb: tuple[str, ...]) -> None:
    said = run(*verb, "--help")

    assert said.status == 0
    assert "Usage: " in said.out
    assert "gapless" in said.out


def test_server_flags_that_cannot_be_are_one_line(run: Run, tmp_path: Path) -> None:
    said = run("server", "--state-dir", str(tmp_path), "--agent-down-time", "4", "--report-interval", "3")
    assert said.status == 1
    assert "agent_down_time (4 s) must be at least twice report_interval (3 s)" in said.err

    said = run("server", "--state-dir", str(tmp_path), "--api", "here:http")
    assert said.status == 1
    assert "'here:http' is not an address" in said.err

"""`gapless ... | head -1`: who reads goes before all is said."""

import os
import subprocess
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from gapless.cli.main import VERBS
from gapless.lab.machines import enter
from gapless.observe import reader


def unread(argv: Sequence[str], *, errors: bool = False) -> tuple[int, str]:
    """The status of a program, and what it says on standard error, when nobody reads its standard output. With `errors`
    standard error goes the same way.
    """
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    read_end, write_end = os.pipe()
    os.close(read_end)
    to = write_end if errors else subprocess.PIPE
    try:
        done = subprocess.run(argv, stdout=write_end, stderr=to, text=True, timeout=60, check=False, env=buffered)
    finally:
        os.close(write_end)
    return done.returncode, done.stderr or ""


def gapless(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gapless", *arguments]


@pytest.mark.parametrize(
    "arguments", [(), ("--help",), ("--version",), *((verb, "--help") for verb in VERBS), ("lab", "faults")]
)
def test_a_reader_that_is_gone_is_no_error_of_ours(arguments: tuple[str, ...]) -> None:
    assert unread(gapless(*arguments)) == (1, "")


def test_nor_where_all_is_written_when_the_program_ends() -> None:
    class OneAnswer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"brake": {"engaged": false}}')

        def log_request(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), OneAnswer) as server:
        answering = Thread(target=server.handle_request)
        answering.start()
        assert unread(gapless("brake", "--json", "--api", f"http://127.0.0.1:{server.server_port}")) == (1, "")
        answering.join()


def test_nor_in_a_lab() -> None:
    assert unread(enter.call("builtins:print", "words")) == (1, "")


def test_nor_where_what_is_wrong_is_not_read_either() -> None:
    assert unread(gapless("nonsense"), errors=True)[0] == 1


def test_another_pipe_that_breaks_is_seen_with_its_trace() -> None:
    with pytest.raises(BrokenPipeError), reader.may_go():
        raise BrokenPipeError

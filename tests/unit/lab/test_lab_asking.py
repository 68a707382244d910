"""Asking a lab: its words, its answer, and what is said when there is none."""

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from gapless.errors import Unavailable
from gapless.lab import running, standing
from gapless.lab.registry import Registered
from gapless.lab.running import RunningLab
from gapless.lab.standing import Alive, Answer, Failed, Reply, Request, Said

LAB = RunningLab("lab", Path("lab.json"), Registered(supervisor=0, started=0, pid=os.getpid(), since=0.0))


def line(reply: Reply) -> bytes:
    return msgspec.json.encode(reply) + b"\n"


@pytest.fixture
def replying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A lab that answers one request with these bytes, and then hangs or hangs up."""
    done = threading.Event()
    threads: list[threading.Thread] = []
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listening:
        path = Path(directory, "control")
        monkeypatch.setattr(standing, "SOCKET", path)
        listening.bind(str(path))
        listening.listen()

        def serve(words: bytes, *, hangs: bool) -> None:
            connection, _ = listening.accept()
            with connection, suppress(BrokenPipeError):  # who asked may be gone before this thread has its turn
                connection.makefile("rb").readline()
                connection.sendall(words)
                if hangs:
                    done.wait()

        def start(*words: bytes, hangs: bool = False) -> None:
            threads.append(threading.Thread(target=serve, args=(b"".join(words),), kwargs={"hangs": hangs}))
            threads[-1].start()

        yield start
        done.set()
        for thread in threads:
            thread.join()


def test_words_are_heard_and_the_answer_is_returned(replying: Callable[..., None]) -> None:
    replying(line(Said("striking")), line(Alive()), line(Said("waiting")), line(Answer([1, 2])))
    heard: list[str] = []
    assert LAB.ask(Request(ask="status"), heard.append) == [1, 2]
    assert heard == ["striking", "waiting"]


def test_a_failure_is_told_in_the_labs_words(replying: Callable[..., None]) -> None:
    replying(line(Failed("host-9 is not there")))
    with pytest.raises(Unavailable, match="host-9 is not there"):
        LAB.ask(Request(ask="status"))


@pytest.mark.parametrize("words", [b"", line(Said("striking")), line(Answer(1))[:-5]])
def test_a_lab_that_ends_while_it_is_asked(replying: Callable[..., None], words: bytes) -> None:
    replying(words)
    with pytest.raises(Unavailable, match="lab 'lab' ended"):
        LAB.ask(Request(ask="status"))


@pytest.mark.parametrize("words", [b"", line(Said("striking")), line(Answer(1))[:-5]])
def test_a_lab_that_is_stopped_is_not_waited_for(
    replying: Callable[..., None], monkeypatch: pytest.MonkeyPatch, words: bytes
) -> None:
    monkeypatch.setattr(running, "SILENCE_S", 0.1)
    replying(words, hangs=True)
    with pytest.raises(Unavailable, match=r"silent for 0\.1 s"):
        LAB.ask(Request(ask="status"))


def test_a_lab_without_its_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(standing, "SOCKET", "/nonexistent/control")
    with pytest.raises(Unavailable, match="does not answer: No such file"):
        LAB.ask(Request(ask="status"))

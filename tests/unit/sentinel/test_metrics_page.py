"""The page over HTTP, with real sockets: what is answered, and that nobody who asks holds up anybody else."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from gapless.config import Address
from gapless.sentinel.figures import HostFigures, Page
from gapless.sentinel.levels import Levels
from gapless.sentinel.metrics import AT_ONCE, QUESTION_BYTES_MAX, MetricsPage

FIGURES = HostFigures(
    beat=None,
    levels=Levels(),
    lease_s=0.0,
    routers=7,
    built=5,
    failed=0,
    agent_restarts=0,
    agent_is_running=True,
    link_is_up=True,
)
PATIENCE_S = 20.0


@contextlib.asynccontextmanager
async def served(port: int = 0) -> AsyncIterator[MetricsPage]:
    page = MetricsPage(Address(host="127.0.0.1", port=port), Page(lambda: FIGURES, lambda: 0))
    running = asyncio.create_task(page.run(try_again_s=0.01))
    try:
        yield page
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def ask(page: MetricsPage, question: bytes) -> tuple[str, str]:
    """The status line and the body; both empty where the question was not answered."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", await page.port)
        writer.write(question)
        with contextlib.suppress(ConnectionError):
            answer = (await reader.read()).decode()
            writer.close()
            head, _, body = answer.partition("\r\n\r\n")
            return head.partition("\r\n")[0], body
        return "", ""


async def test_what_is_asked_and_what_is_answered() -> None:
    async with served() as page:
        status, body = await ask(page, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == "HTTP/1.1 200 OK"
        assert "gapless_routers_planned 7.0" in body
        assert (await ask(page, b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"))[0] == "HTTP/1.1 200 OK"
        assert (await ask(page, b"GET / HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
        assert (await ask(page, b"POST /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"
        assert (await ask(page, b"\0\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"


async def test_a_question_without_end_is_not_kept() -> None:
    async with served() as page:
        assert await ask(page, b"GET /" + b"x" * (2 * QUESTION_BYTES_MAX)) == ("", "")
        assert (await ask(page, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 200 OK"


async def test_those_who_ask_nothing_are_shown_out_and_others_wait_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as page:
        with monkeypatch.context() as impatient:
            impatient.setattr("gapless.sentinel.metrics.QUESTION_WITHIN_S", 0.2)
            idle = [await asyncio.open_connection("127.0.0.1", await page.port) for _ in range(AT_ONCE)]
            async with asyncio.timeout(PATIENCE_S):
                for reader, writer in idle:
                    assert await reader.read() == b""
                    writer.close()
        assert (await ask(page, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 200 OK"


async def test_an_address_in_use_is_said_once_and_had_when_it_is_free(log_lines: list[str]) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    async with served(taken.getsockname()[1]) as page:
        async with asyncio.timeout(PATIENCE_S):
            while not log_lines:  # noqa: ASYNC110 - a log line is no event
                await asyncio.sleep(0.01)
            taken.close()
            assert await page.port
    (line,) = log_lines
    assert "metrics cannot be served at 127.0.0.1:" in line

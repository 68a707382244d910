"""Serves a host's figures to Prometheus: one page over HTTP, `GET /metrics`, from the sentinel's loop.

The rule: who asks can neither hold up the sentinel nor fill it. A question is short and comes soon, few are answered at
a time, and the page is written in a thread. An address that cannot be had costs the figures, and nothing else.
"""

import asyncio
from contextlib import suppress
from typing import Final

from gapless.config import Address
from gapless.observe.log import get_logger
from gapless.sentinel.figures import CONTENT_TYPE, Page

QUESTION_BYTES_MAX: Final = 8192
QUESTION_WITHIN_S: Final = 5.0
AT_ONCE: Final = 4
TRY_AGAIN_S: Final = 30.0


class MetricsPage:
    """Listens at an address, until cancelled."""

    def __init__(self, address: Address, page: Page) -> None:
        self._address = address
        self._page = page
        self._answering = asyncio.Semaphore(AT_ONCE)
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Where it listens, once it does."""

    async def run(self, try_again_s: float = TRY_AGAIN_S) -> None:
        """Serve; where the address cannot be had, that is said once, and it is tried again."""
        has_failed = False
        while True:
            try:
                server = await asyncio.start_server(
                    self._answer, self._address.host, self._address.port, limit=QUESTION_BYTES_MAX
                )
            except OSError as error:
                if not has_failed:
                    what = f"metrics cannot be served at {self._address}; nothing else depends on them (--metrics)"
                    get_logger().warning(what, reason=error.strerror or str(error))
                has_failed = True
                await asyncio.sleep(try_again_s)
                continue
            async with server:
                self.port.set_result(server.sockets[0].getsockname()[1])
                await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(QUESTION_WITHIN_S), self._answering:
                question = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._response(question.split(b"\r\n")[0].split(b" ")))
                await writer.drain()
        writer.close()

    async def _response(self, words: list[bytes]) -> bytes:
        if len(words) != 3 or words[0] != b"GET":
            return _http("405 Method Not Allowed", b"GET it\n", "text/plain")
        if words[1].partition(b"?")[0] != b"/metrics":
            return _http("404 Not Found", b"figures are at /metrics\n", "text/plain")
        return _http("200 OK", await asyncio.to_thread(self._page.text, self._page.figures()), CONTENT_TYPE)


def _http(status: str, body: bytes, content_type: str) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body

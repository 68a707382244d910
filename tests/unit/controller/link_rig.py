"""What tests of the control link share: refusals as they are counted, logged and heard, and whether it still serves."""

import asyncio
from typing import Any

from shell_fakes import PATIENCE_S, an_id, fake_host
from websockets.exceptions import ConnectionClosed

from gapless.controller.shell import Shell
from gapless.model.host import HostName, InstanceId
from gapless.wire.messages import Refused, from_controller

Log = list[dict[str, Any]]
H1 = HostName("h1")
OTHER_MACHINE = InstanceId(an_id("another machine"))


def refusals(shell: Shell, code: str) -> float:
    value = shell.metrics.registry.get_sample_value("gapless_control_link_refusals_total", {"code": code})
    return value or 0.0


def refusal_lines(log: Log) -> Log:
    return [line for line in log if line["event"].startswith("Refused a control link: ")]


async def last_words(connection: Any) -> tuple[Refused | None, str]:
    """What the controller still said, and the reason with which it closed."""
    refused = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = from_controller.decode(await connection.recv(decode=False))
                refused = message if isinstance(message, Refused) else refused
    except ConnectionClosed:
        return refused, connection.close_reason or ""


async def works(port: int, name: str = "bystander") -> None:
    """The link serves a host: the proof that what was done to it did no harm."""
    async with fake_host(port, name) as host:
        await host.report()

"""A process that only supervises: to be killed. usage: stand_in_sentinel.py AGENT DIARY"""

import asyncio
import sys

from gapless.sentinel.desired import Desired
from gapless.sentinel.supervise import Supervisor


class Nobody:
    def agent_is(self, *_: object) -> None: ...
    def agent_said(self, *_: object) -> None: ...


def command(fd: int) -> list[str]:
    return [sys.executable, sys.argv[1], "good", str(fd), sys.argv[2]]


async def main() -> None:
    await Supervisor(command, Desired(), Nobody()).run()


asyncio.run(main())

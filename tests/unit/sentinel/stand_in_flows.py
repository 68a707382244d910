"""A stand-in for the flows process: speaks its end of the link, and behaves as its first argument says.

usage: stand_in_flows.py BEHAVIOUR FD DIARY; each line of the diary is something that it was told.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

from gapless.wire.flowlink import (
    FlowFigures,
    FlowsAlive,
    FlowsBegin,
    FlowsDuties,
    FlowsFlushed,
    FlowsUnable,
    ToFlows,
    to_flows,
)
from gapless.wire.local import LocalLink

behaviour, diary = sys.argv[1], Path(sys.argv[3])


def note(line: str) -> None:
    with diary.open("a") as file:
        file.write(f"{line}\n")


async def main() -> None:
    link: LocalLink[ToFlows] = await LocalLink.over(socket.socket(fileno=int(sys.argv[2])), to_flows)
    while (message := await link.receive()) is not None:
        match message:
            case FlowsBegin():
                note(f"{os.getpid()} begins {message.name} {message.cluster} {message.key}")
                if behaviour == "unable":
                    await link.send(FlowsUnable(reason="no flows here"))
                    break
                if behaviour != "mute":
                    await link.send(FlowsAlive(figures=FlowFigures(heard=7, streams=1)))
            case FlowsDuties():
                whom = [
                    f"{router_id} -> {host} at {message.addresses.get(host)}"
                    for router_id, hosts in message.followed.items()
                    for host in hosts
                ]
                note(f"duties {' '.join(message.told)} | {' '.join(whom)}")
                if message.flush:
                    note(f"flush {' '.join(f'{each} -> {to}' for each, to in message.flush.items())}")
                if message.flush and behaviour == "flushes":
                    await link.send(FlowsFlushed(routers=tuple(message.flush), answers=message.askings))
                if copied := {each: hosts == ("net2",) for each, hosts in message.followed.items()}:
                    await link.send(FlowsAlive(figures=FlowFigures(heard=7, streams=1), copied=dict(copied)))
                if "die" in message.told:
                    os._exit(3)
    await link.close()


asyncio.run(main())

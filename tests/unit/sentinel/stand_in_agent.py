"""A stand-in for the agent, as a process: speaks the local link, and misbehaves as its first argument says.

usage: stand_in_agent.py BEHAVIOUR FD DIARY; each line of the diary is something that it saw or did.
"""

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from gapless.model.plan import Revision, RouterReport, RouterState
from gapless.wire.messages import AgentAlive, AgentPlan, AgentReport, AgentUnable, TakingOver, encode, to_agent

behaviour, link, diary = sys.argv[1], socket.socket(fileno=int(sys.argv[2])), Path(sys.argv[3])


def note(line: str) -> None:
    with diary.open("a") as file:
        file.write(f"{line}\n")


def say(message: AgentAlive | AgentReport | AgentUnable) -> None:
    body = encode(message)
    link.sendall(struct.pack(">I", len(body)) + body)


def read(size: int) -> bytes:
    got = b""
    while len(got) < size:
        try:
            more = link.recv(size - len(got))
        except ConnectionResetError:  # It ended without having read all that was said to it.
            more = b""
        if not more:
            note("end")
            if behaviour == "stubborn":
                signal.pause()
            sys.exit(0)
        got += more
    return got


def live() -> None:
    while True:
        say(AgentAlive(busy_s=1000.0 if behaviour == "busy" else 0.0))
        time.sleep(0.02)


note(f"pid {os.getpid()}")
match behaviour:
    case "crash":
        sys.exit(3)
    case "unable":
        say(AgentUnable(reason="no nftables here"))
        sys.exit(1)
    case "mute":
        signal.pause()
    case "garble":
        link.sendall(b"\xff" * 4)
        signal.pause()
    case "hang-up":
        link.close()
        signal.pause()

threading.Thread(target=live, daemon=True).start()
while True:
    message = to_agent.decode(read(struct.unpack(">I", read(4))[0]))
    if isinstance(message, TakingOver):
        note(f"taking over {message.is_on} {' '.join(message.unbuilt)}".strip())
        continue
    if isinstance(message, AgentPlan):
        names = " ".join(each.router.id for each in message.routers)
        note(f"plan {message.revision} confirmed={message.confirmed} {names}".strip())
    else:
        note(f"change {message.revision} +{[each.router.id for each in message.routers]} -{list(message.removed)}")
    states = tuple(
        RouterReport(
            router_id=each.router.id, epoch=each.epoch, state=RouterState.ACTIVE, guarded=each.guarded is not None
        )
        for each in message.routers
    )
    with contextlib.suppress(BrokenPipeError):  # It ended meanwhile, which the next read will see.
        say(AgentReport(revision=Revision(message.revision), routers=states, full=isinstance(message, AgentPlan)))

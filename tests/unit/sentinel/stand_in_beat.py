"""A stand-in for the beat, as a process: speaks its end of the link, and behaves as its first argument says.

usage: stand_in_beat.py BEHAVIOUR FD DIARY STATE_DIR; each line of the diary is something that it saw or did. A built
router named "WORD:NAME" has it do something.
"""

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Panel, Tenure
from gapless.model.plan import Epoch, Forwarding, Takeover, TakeoverTimes
from gapless.model.router import RouterId
from gapless.wire import beat as wire
from gapless.wire.packets import BeatEnd

behaviour, diary, state_dir = sys.argv[1], Path(sys.argv[3]), Path(sys.argv[4])
link: BeatEnd[wire.ToBeat] = BeatEnd(socket.socket(fileno=int(sys.argv[2])), wire.to_beat)
incarnation = Incarnation(0)
panel: Panel | None = None
settled = 0
in_haste = unguarded = False
RHYTHM_S = 0.1


def note(line: str) -> None:
    with diary.open("a") as file:
        file.write(f"{line}\n")


def on_disk(name: str, key: str) -> object:
    file = state_dir / name
    return msgspec.json.decode(file.read_bytes())[key] if file.exists() else None


def panel_on_disk() -> object:
    kept = on_disk("panel.json", "panel")
    return kept["version"] if isinstance(kept, dict) else None


def level(tenure: int, takeovers: int = 0) -> None:
    link.send(
        wire.Level(
            tenure=Incarnation(tenure),
            settled=settled,
            panel=panel,
            takeovers=takeovers,
            is_taking_over=in_haste,
            is_unguarded=unguarded,
        )
    )


def receive() -> wire.ToBeat:
    while not select.select([link.socket], [], [], RHYTHM_S)[0]:
        link.send(wire.Rhythm(beats=1, latest_ms=0))
    message = link.receive()
    assert message is not None
    return message


def obey(order: str) -> None:
    """What a test asks for; it comes as the name of a built router."""
    word, _, name = order.partition(":")
    router_id = RouterId(name)
    match word:
        case "open":
            link.send(wire.Opened(routers=(Forwarding(router_id=router_id, epoch=Epoch(2)),)))
        case "pass":
            link.send(wire.Passing(routers=(router_id,)))
        case "close":
            link.send(wire.Closed(routers=(router_id,)))
        case "take":
            times = TakeoverTimes(buried_ms=1, opened_ms=2, told_ms=3)
            taken = Takeover(
                router_id=router_id, epoch=Epoch(2), of=Tenure(HostName("dead"), Incarnation(1)), times=times
            )
            link.send(wire.TookOver(number=1, at=time.monotonic(), takeovers=(taken,)))
            level(incarnation, takeovers=1)
        case "haste":
            global in_haste
            in_haste = name == "on"
            level(incarnation)
        case "unguarded":
            global unguarded
            unguarded = name == "on"
            level(incarnation)
        case "fence":
            level(0)
            link.send(wire.IncarnationNeeded(after=Incarnation(max(incarnation, int(name or 0)))))
        case "late":
            link.send(wire.Rhythm(beats=20, latest_ms=150))
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "garble":
            link.socket.send(b"no message")
        case "unable":
            link.send(wire.Unable(reason="the guard is gone"))
        case "err":
            link.send(wire.Unable(reason="time fell\n1.0 <- a deadline\n1.1 -> Withdraw()"))


begin = receive()
assert isinstance(begin, wire.Begin)
incarnation, panel = begin.incarnation, begin.panel.panel if begin.panel is not None else None
note(f"begin {begin.incarnation} on disk {on_disk('identity.json', 'incarnation')}")
note(f"begin panel {panel and panel.version} on disk {panel_on_disk()} pid {os.getpid()}")
match behaviour:
    case "crash":
        sys.exit(3)
    case "mute":
        signal.pause()
    case "unable":
        link.last_words(wire.Unable(reason="no nftables here"))
        sys.exit(1)
    case "deaf":
        link.send(wire.Ready(terms="normal priority"))
        signal.pause()
    case "patient":
        while not (state_dir / "go").exists():
            time.sleep(0.005)
link.send(wire.Ready(terms="normal priority"))
if behaviour != "unleased":
    level(incarnation)
while True:
    message = receive()
    match message:
        case wire.PlanPart():
            names = " ".join(each.router_id for each in message.routers)
            whole, gone = "whole" if message.whole else "part", len(message.removed)
            note(f"{whole} {message.revision}@{message.incarnation} heard {message.heard} +{names} -{gone}")
            if message.panel is not None:
                panel = message.panel.panel
                note(f"panel {panel.version} on disk {panel_on_disk()}")
            if message.last:
                settled = message.revision
                note(f"last {message.revision}")
                level(incarnation if behaviour != "unleased" else 0)
        case wire.Built():
            note(f"built {len(message.routers)}")
            for order in message.routers:
                obey(order)
        case wire.NewIncarnation():
            incarnation = message.incarnation
            note(f"incarnation {incarnation} on disk {on_disk('identity.json', 'incarnation')}")
            level(incarnation)
        case wire.Outlived():
            if incarnation <= message.up_to:
                note(f"outlived {message.up_to}")
                level(0)
                link.send(wire.IncarnationNeeded(after=message.up_to))
        case wire.BurialQuestion():
            note(f"bury {message.tenure} {message.seq}")
            link.send(wire.BurialAnswer(tenure=message.tenure, seq=message.seq, is_buried=True))

"""A host's fast path as a process: `python -m gapless.sentinel.beat FD`, started by the sentinel and nobody else.

FD is its end of the link to the sentinel, over which everything else comes: a command line can be read by everybody.
It ends when the sentinel does; the guard stays in the kernel, and closes when the lease in it is over.
"""

import select
import signal
import socket
import sys

from gapless.config import LEASE_PORT, Address
from gapless.errors import GaplessError, Unavailable
from gapless.kernel import comm
from gapless.sentinel.beat import words
from gapless.sentinel.beat.announce import Announcer
from gapless.sentinel.beat.announcements import Announcements
from gapless.sentinel.beat.guard import Guard
from gapless.sentinel.beat.loop import ROOM_BYTES, Loop, open_socket, room
from gapless.sentinel.beat.priority import die_with_the_sentinel, settle_memory, take_priority
from gapless.sentinel.beat.uplinks import Uplinks
from gapless.wire.beat import Begin, Ready, ToBeat, Unable, to_beat
from gapless.wire.packets import BeatEnd

BEGIN_WITHIN_S = 10.0
SWITCH_S = 0.0005
"""After so long the thread that prepares announcements lets go of the interpreter, if the beat is due."""


def main() -> int:
    """Run the beat; returns the exit status."""
    die_with_the_sentinel()
    comm.take(comm.BEAT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A Ctrl-C at the terminal is for the sentinel.
    end = socket.socket(fileno=int(sys.argv[1]))
    link: BeatEnd[ToBeat] = BeatEnd(end, to_beat)
    try:
        begin = _begin(link)
        with Guard(begin.guard) as guard:
            guard.install()
            datagrams = open_socket(Address.parse(begin.address, LEASE_PORT))
            announcements = Announcements(Announcer(), lease_until=lambda: guard.until_s)
            loop = Loop(begin, link, datagrams, guard, announcements, Uplinks(begin.uplinks))
            if (got := room(datagrams)) < ROOM_BYTES // 2:
                link.send(words.little_room(got, ROOM_BYTES))
            terms = take_priority()
            settle_memory()
            sys.setswitchinterval(SWITCH_S)
            link.send(Ready(terms=terms))
            loop.run()
    except (GaplessError, OSError) as error:
        link.last_words(Unable(reason=str(error)))
        return 1
    return 0


def _begin(link: BeatEnd[ToBeat]) -> Begin:
    """The first message. Raises Unavailable when it does not come."""
    waiting = select.poll()
    waiting.register(link.socket, select.POLLIN)
    if not waiting.poll(BEGIN_WITHIN_S * 1000):
        raise Unavailable("the sentinel said nothing")
    message = link.receive()
    if not isinstance(message, Begin):
        raise Unavailable("the sentinel began with something else")
    return message


if __name__ == "__main__":
    sys.exit(main())

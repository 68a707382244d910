"""Interfaces of this host, found by name and asked about by index.

Who asks the kernel by ioctl about a name that is gone makes it look for a module of that name, and waits meanwhile
(dev_load in net/core/dev_ioctl.c). Netlink looks for none, but takes RTNL, for which one waits too.

The rule: the beat asks by index whether an interface is still there and has its name. What is gone is looked for by a
thread of its own, until it is back.
"""

import queue
import struct
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from fcntl import ioctl
from typing import Final

from gapless.errors import Unavailable
from gapless.kernel.netlink import Netlink, Request, as_text, attributes, text, u32

IFNAME: Final = 3  # linux/if_link.h
MASTER: Final = 10
_LINKINFO, _INFO_KIND = 18, 1
LOOK_S = 0.2
"""Between two looks for what is gone."""

_FOUND_AT_ONCE = 16
"""Descriptions of interfaces that fit a default receive buffer: each takes some pages of it."""
_SIOCGIFNAME = 0x8910  # linux/sockios.h
_BY_INDEX = struct.Struct("16xi20x")
_IFINFO = struct.Struct("=BxHiII")
_GETLINK, _EXT_MASK, _SKIP_STATISTICS = 18, 29, 1 << 3

Link = tuple[int, dict[int, bytes]]
"""An index, and attributes."""


def find(host: Netlink, names: Collection[str]) -> dict[str, Link]:
    """The interfaces of these names that exist. Raises Unavailable when the kernel does not tell."""
    head, tail = _IFINFO.pack(0, 0, 0, 0, 0), u32(_EXT_MASK, _SKIP_STATISTICS)
    asked = list(names)
    requests = [
        Request(_GETLINK, 0, head + text(IFNAME, name) + tail, f"look for {name}", is_question=True) for name in asked
    ]
    portions = (requests[start : start + _FOUND_AT_ONCE] for start in range(0, len(requests), _FOUND_AT_ONCE))
    answers = [answer for portion in portions for answer in host.ask(portion)]
    return {
        name: _decode(answer.messages[0])
        for name, answer in zip(asked, answers, strict=True)
        if not answer.error and answer.messages
    }


def ports_of(host: Netlink, bridge: str, index: int) -> list[Link]:
    """The ports of a bridge. Raises Unavailable when the kernel does not tell."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + u32(MASTER, index) + u32(_EXT_MASK, _SKIP_STATISTICS)
    return [_decode(message) for message in host.dump(_GETLINK, body, f"list the ports of {bridge}")]


def is_bridge(link: dict[int, bytes]) -> bool:
    """Whether an interface with these attributes is a bridge."""
    return as_text(attributes(link.get(_LINKINFO, b"")).get(_INFO_KIND, b"")) == "bridge"


def name_at(host: Netlink, index: int) -> str | None:
    """What an interface is called; None: it is gone. Raises Unavailable when the kernel does not tell."""
    body = _IFINFO.pack(0, 0, index, 0, 0) + u32(_EXT_MASK, _SKIP_STATISTICS)
    (answer,) = host.ask([Request(_GETLINK, 0, body, f"look for interface {index}", is_question=True)])
    if answer.error or not answer.messages:
        return None
    return as_text(_decode(answer.messages[0])[1][IFNAME])


def name_of(descriptor: int, index: int) -> bytes:
    """What an interface is called now, in 16 bytes as an ioctl takes it. Never waits. Raises OSError: it is gone."""
    return ioctl(descriptor, _SIOCGIFNAME, _BY_INDEX.pack(index))[:16]


def _decode(message: bytes) -> Link:
    _, _, index, _, _ = _IFINFO.unpack_from(message)
    return index, attributes(message, _IFINFO.size)


class Watched:
    """Interfaces by their names; `is_there` never waits."""

    def __init__(self, names: Iterable[str]) -> None:
        """Raises Unavailable when the kernel does not tell which of them there are."""
        self._host = Netlink()
        found = find(self._host, tuple(names))
        self._indices = {name: index for name, (index, _) in found.items()}
        self.bridges = frozenset(name for name, (_, link) in found.items() if is_bridge(link))
        """Those of them that are bridges of the operator's."""
        self._sought: set[str] = set()
        self._work: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interfaces", daemon=True)
        self._thread.start()

    def is_there(self, descriptor: int, name: str) -> bool:
        """Whether there is an interface of this name; one that has come lately may be found a little later."""
        index = self._indices.get(name)
        if index is not None:
            with suppress(OSError):
                if name_of(descriptor, index).rstrip(b"\0") == name.encode():
                    return True
        if name not in self._sought:
            self._sought.add(name)
            self._work.put(name)
        return False

    def close(self) -> None:
        """Look for nothing more."""
        self._closing.set()
        self._work.put(None)
        self._thread.join(timeout=30)
        self._host.close()

    def _run(self) -> None:
        while (name := self._work.get()) is not None:
            with suppress(Unavailable):
                for found, (index, _) in find(self._host, (name,)).items():
                    self._indices[found] = index
            self._closing.wait(LOOK_S)
            self._sought.discard(name)

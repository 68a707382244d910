"""nftables through libnftables, in process: a transaction costs what the kernel costs, not a process start.

A context belongs to the network namespace of the thread that made it, wherever it is used from later. The library
promises nothing about threads, so its calls take turns; a router's transaction holds the turn for under a millisecond.

The rule: the library ends the process where it gets no socket for a context (`netlink_init_error`, src/mnl.c, calls
exit(3)), and writes beyond its memory where that socket's number is not below 1,024 (it waits by select(2)). So it is
asked for a context only when there was room for several such descriptors a moment before, as other threads may take
some of them meanwhile.

Source: nftables/libnftables.h (the ABI of libnftables.so.1).
"""

import contextlib
import ctypes
import ctypes.util
import os
import socket
import threading
from functools import cache
from typing import Self

from gapless.config import NFTABLES_LIBRARY, NFTABLES_PACKAGE
from gapless.errors import Unavailable
from gapless.kernel import refusals
from gapless.kernel.limits import SELECT_MOST
from gapless.kernel.netlink import NETFILTER

_ROOM = 8
"""Descriptors that must be free for a context, which takes one: more than the agent has threads."""
_turn = threading.Lock()


@cache
def load(name: str = NFTABLES_LIBRARY) -> ctypes.CDLL:
    """The library with its ABI declared. Raises Unavailable, naming the package, where it is not installed."""
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise Unavailable(f"{name} cannot be loaded: install the package {NFTABLES_PACKAGE} ({error})") from error
    context, words = ctypes.c_void_p, ctypes.c_char_p
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], context
    library.nft_ctx_free.argtypes, library.nft_ctx_free.restype = [context], None
    library.nft_ctx_buffer_output.argtypes, library.nft_ctx_buffer_output.restype = [context], ctypes.c_int
    library.nft_ctx_buffer_error.argtypes, library.nft_ctx_buffer_error.restype = [context], ctypes.c_int
    library.nft_ctx_get_output_buffer.argtypes, library.nft_ctx_get_output_buffer.restype = [context], words
    library.nft_ctx_get_error_buffer.argtypes, library.nft_ctx_get_error_buffer.restype = [context], words
    library.nft_run_cmd_from_buffer.argtypes, library.nft_run_cmd_from_buffer.restype = [context, words], ctypes.c_int
    return library


class Nft:
    """An nftables context of the namespace in which it is made."""

    def __init__(self) -> None:
        """Raises Unavailable where the kernel gives no socket for it."""
        self._library = load()
        with _turn:
            _see_to_room()
            self._context: int | None = self._library.nft_ctx_new(0)
            if not self._context:
                raise Unavailable("libnftables made no context")
            self._library.nft_ctx_buffer_output(self._context)
            self._library.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the context; rules stay."""
        if self._context:
            with _turn:
                self._library.nft_ctx_free(self._context)
            self._context = None

    def transact(self, commands: str, about: str) -> None:
        """Run `commands` as one transaction: all of them or none. Raises Unavailable with the library's words."""
        with _turn:
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            said: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
            # What it says besides is read, too, so that it is not kept.
            self._library.nft_ctx_get_output_buffer(self._context)
        if failed:
            raise Unavailable(f"{about}: {_in_one_line(said.decode(errors='replace'))}")


def _see_to_room() -> None:
    with refusals.told("open an nftables context"), contextlib.ExitStack() as taken:
        probe = taken.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER))
        for _ in range(_ROOM - 1):
            taken.callback(os.close, highest := os.dup(probe.fileno()))
            if highest >= SELECT_MOST:
                raise Unavailable(
                    f"open an nftables context: none of the first {SELECT_MOST:,} descriptors is free, and libnftables "
                    "stands no others"
                )


def _in_one_line(error: str) -> str:
    """The library's errors without the echo of the command and the carets below it."""
    lines = [line.strip() for line in error.splitlines() if "Error:" in line]
    return "; ".join(line.partition("Error:")[2].strip() for line in lines) or error.strip() or "no reason given"

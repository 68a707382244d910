"""Who this host is, kept on its disk: its instance, how often it has started, and the cluster that it belongs to.

The rules: the instance is made once and never changes; the incarnation has grown, durably, before anybody hears of
it; one sentinel at a time owns a state directory. A file that cannot be read is never replaced by a new identity by
itself: a host with a new instance is another machine to the controller, and somebody has to want that.

A directory that is removed while its sentinel runs is made again, and what it held is put back from memory: this host
goes on being who it is. Its incarnation never falls by that, for it counts on from the one in memory.
"""

import contextlib
import fcntl
import os
import threading
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import msgspec

from gapless.errors import InvalidRequest, InvariantError, Unavailable
from gapless.model.host import Incarnation, InstanceId
from gapless.model.lease import NOBODY
from gapless.model.plan import PanelPlan
from gapless.sentinel.durable import KeptFile

LOCK = "sentinel.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What `identity.json` holds."""

    instance: InstanceId
    incarnation: Incarnation
    cluster: str | None = None
    """The id of the cluster that first welcomed this host; None before that."""


class StateDirectory:
    """The directory in which a host keeps what must outlive it; locked against a second sentinel while it is open."""

    def __init__(self, path: Path) -> None:
        """Make the directory if need be, and lock it. Raises Unavailable or InvalidRequest with what to change."""
        self.path = path
        self.plan = KeptFile(path / "plan.json", self._own)
        self._panel = KeptFile(path / "panel.json", self._own)
        self._identity = KeptFile(path / "identity.json", self._own)
        self._known: Identity | None = None
        """What the disk has, or had before somebody removed it."""
        self._writing = threading.Lock()
        self._owning = threading.Lock()
        self._removed: list[str] = []
        self._lock = _locked(path)

    def __enter__(self) -> "StateDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def begin_incarnation(self) -> Identity:
        """This start's identity, durable when this returns. Raises Unavailable (disk), InvalidRequest (damaged)."""
        with self._writing:
            before = self._read()
            if before is None:
                now = Identity(instance=InstanceId(str(uuid.uuid4())), incarnation=Incarnation(1))
            else:
                now = replace(before, incarnation=Incarnation(before.incarnation + 1))
            return self._write(now)

    def next_incarnation(self, after: Incarnation = NOBODY) -> Incarnation:
        """One that is higher than every one before, and than `after`: arbiters may know of a higher one than a disk
        that was restored from a backup. Durable when this returns. Raises Unavailable.
        """
        with self._writing:
            before = self._begun()
            return self._write(replace(before, incarnation=Incarnation(max(before.incarnation, after) + 1))).incarnation

    def join(self, cluster: str) -> Identity:
        """Keep that this host belongs to `cluster` from now on. Blocks on the disk. Raises Unavailable."""
        with self._writing:
            return self._write(replace(self._begun(), cluster=cluster))

    def keep_panel(self, panel: PanelPlan) -> None:
        """Keep the arbiters, durable when this returns. Blocks on the disk. Raises Unavailable."""
        self._panel.write(msgspec.json.format(msgspec.json.encode(panel)) + b"\n")

    def load_panel(self) -> PanelPlan | None:
        """The arbiters as kept; None where there are none. Raises Unavailable, InvalidRequest (damaged)."""
        try:
            return self._panel.read(msgspec.json.Decoder(PanelPlan).decode)
        except ValueError as error:
            raise InvalidRequest(
                f"{self._panel.path} is damaged ({error}): remove it, and this host asks for no lease until the "
                "controller names the arbiters again"
            ) from error

    def restore(self) -> tuple[str, ...]:
        """Put back what was removed since this sentinel began; returns the names of that. Blocks on the disk. Raises
        Unavailable.
        """
        self._own()
        for file in (self._identity, self._panel, self.plan):
            if file.restore():
                self._removed.append(file.path.name)
        with self._owning:
            removed, self._removed = tuple(self._removed), []
        return removed

    def _own(self) -> None:
        """The directory is there and locked by this process, made again if need be. Raises Unavailable."""
        with self._owning:
            if _is_at(self._lock, self.path / LOCK):
                return
            try:
                lock = _locked(self.path)
            except InvalidRequest as error:
                raise Unavailable(str(error)) from error
            try:
                self._leave_to_its_owner()
            except Unavailable:
                os.close(lock)
                raise
            os.close(self._lock)
            self._lock = lock
            self._removed.append(LOCK)
            for file in (self._identity, self._panel, self.plan):
                file.lose()

    def _leave_to_its_owner(self) -> None:
        """Raise Unavailable if what is in the place of this host's directory is another host's."""
        try:
            found = KeptFile(self._identity.path).read(_identity)
        except ValueError as error:
            raise Unavailable(f"{self._identity.path} was replaced by what cannot be read: {error}") from error
        if found is not None and self._known is not None and found.instance != self._known.instance:
            raise Unavailable(f"{self.path} was replaced by the state directory of another host: {found.instance}")

    def _begun(self) -> Identity:
        if self._known is None:
            raise InvariantError("an identity was asked for before this start had one")
        return self._known

    def _write(self, identity: Identity) -> Identity:
        self._identity.write(msgspec.json.format(msgspec.json.encode(identity)) + b"\n")
        self._known = identity
        return identity

    def _read(self) -> Identity | None:
        try:
            return self._identity.read(_identity)
        except ValueError as error:
            raise InvalidRequest(
                f"{self._identity.path} is damaged ({error}). Restore it from a backup; or remove it, and this host "
                "comes back as a new machine, whose name the controller gives free only when the old one counts as dead"
            ) from error


def _identity(content: bytes) -> Identity:
    """Raises ValueError, as msgspec's errors are."""
    identity = msgspec.json.decode(content, type=Identity)
    if str(uuid.UUID(identity.instance)) != identity.instance or identity.incarnation < 1:
        raise ValueError("the instance is no UUID, or the incarnation no positive number")
    return identity


def _locked(path: Path) -> int:
    """The lock of the directory at `path`, which is made if need be. Raises Unavailable, InvalidRequest."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"the state directory {path} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise InvalidRequest(
            f"another sentinel{f' (process {owner})' if owner else ''} runs with the state directory {path}: "
            "each host needs its own, see --state-dir"
        ) from None
    with contextlib.suppress(OSError):  # It is for people: a full disk is told by what has to be written.
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether this open file is what has that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False

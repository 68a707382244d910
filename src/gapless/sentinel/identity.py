"""Who this host is, kept on its disk: its instance, how often it has started, and the cluster that it belongs to.

The rules: the instance is made once and never changes; the incarnation has grown, durably, before anybody hears of
it; one sentinel at a time owns a state directory. A file that cannot be read is never replaced by a new identity by
itself: a host with a new instance is another machine to the controller, and somebody has to want that.
"""

import fcntl
import os
import threading
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import msgspec

from gapless.errors import InvalidRequest, Unavailable
from gapless.model.host import Incarnation, InstanceId
from gapless.model.lease import NOBODY
from gapless.model.plan import PanelPlan
from gapless.sentinel.durable import write_durably


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
        self._writing = threading.Lock()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "sentinel.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"the state directory {path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise InvalidRequest(
                f"another sentinel{f' (process {owner})' if owner else ''} runs with the state directory {path}: "
                "each host needs its own, see --state-dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def __enter__(self) -> "StateDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._lock)

    @property
    def plan_file(self) -> Path:
        """Where the plan is kept."""
        return self.path / "plan.json"

    def begin_incarnation(self) -> Identity:
        """This start's identity, durable when this returns. Raises Unavailable (disk), InvalidRequest (damaged)."""
        with self._writing:
            before = self._read()
            if before is None:
                now = Identity(instance=InstanceId(str(uuid.uuid4())), incarnation=Incarnation(1))
            else:
                now = replace(before, incarnation=Incarnation(before.incarnation + 1))
            self._write(now)
            return now

    def next_incarnation(self, after: Incarnation = NOBODY) -> Incarnation:
        """One that is higher than every one before, and than `after`: arbiters may know of a higher one than a disk
        that was restored from a backup. Durable when this returns. Raises as `begin_incarnation`.
        """
        with self._writing:
            before = self._read()
            if before is None:
                raise Unavailable(f"{self._identity_file} has vanished")
            now = replace(before, incarnation=Incarnation(max(before.incarnation, after) + 1))
            self._write(now)
            return now.incarnation

    @property
    def panel_file(self) -> Path:
        """Where the arbiters are kept."""
        return self.path / "panel.json"

    def keep_panel(self, panel: PanelPlan) -> None:
        """Keep the arbiters, durable when this returns. Blocks on the disk. Raises Unavailable."""
        write_durably(self.panel_file, msgspec.json.format(msgspec.json.encode(panel)) + b"\n")

    def load_panel(self) -> PanelPlan | None:
        """The arbiters as kept; None where there are none. Raises Unavailable, InvalidRequest (damaged)."""
        try:
            return msgspec.json.decode(self.panel_file.read_bytes(), type=PanelPlan)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{self.panel_file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InvalidRequest(
                f"{self.panel_file} is damaged ({error}): remove it, and this host asks for no lease until the "
                "controller names the arbiters again"
            ) from error

    def join(self, cluster: str) -> Identity:
        """Keep that this host belongs to `cluster` from now on. Blocks on the disk. Raises as `begin_incarnation`."""
        with self._writing:
            before = self._read()
            if before is None:
                raise Unavailable(f"{self._identity_file} has vanished")
            joined = replace(before, cluster=cluster)
            self._write(joined)
            return joined

    @property
    def _identity_file(self) -> Path:
        return self.path / "identity.json"

    def _write(self, identity: Identity) -> None:
        write_durably(self._identity_file, msgspec.json.format(msgspec.json.encode(identity)) + b"\n")

    def _read(self) -> Identity | None:
        path = self._identity_file
        try:
            identity = msgspec.json.decode(path.read_bytes(), type=Identity)
            if str(uuid.UUID(identity.instance)) != identity.instance or identity.incarnation < 1:
                raise ValueError("the instance is no UUID, or the incarnation no positive number")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:  # msgspec's errors are ValueErrors too
            raise InvalidRequest(
                f"{path} is damaged ({error}). Restore it from a backup; or remove it, and this host comes back as a "
                "new machine, whose name the controller gives free only when the old one counts as dead"
            ) from error
        return identity

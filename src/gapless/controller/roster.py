"""Which machine may connect under which name, and when each was last heard.

The rule: a name belongs to one machine at a time. Another machine gets it only when the one that has it is dead, since
routers are bound to names: two machines under one name would build the same routers. At the controller's start every
stored host counts as heard just now, because nobody can have been heard while the controller was away.

What outlives a machine is its name: arbiters, rights and burials know hosts by that and an incarnation. So each
machine that ever gets a name has a range of incarnations of its own (`model.host.MACHINE_STEP`), above all that was
heard of the machines before it (`NameRecord`), also after the host was deleted. And a machine that an operator
confirmed to be off has to begin above all that was heard of it.

Pure: time comes in as an argument, monotonic seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address
from uuid import UUID

from gapless.controller.store.hostrows import HostRecord, NameRecord
from gapless.model.host import HostFacts, HostName, Incarnation, InstanceId, others_up_to
from gapless.model.lease import NOBODY

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?", re.ASCII)
_LARGEST = 2**53
"""Whole numbers beyond this do not survive JSON in every language, nor SQLite."""


class RefusalCode(StrEnum):
    """Why a host is turned away: the `code` of `Refused`, and a label of the metric."""

    PROTOCOL = "protocol"
    """It speaks another version of the control link."""
    MALFORMED = "malformed"
    """Its first word is no Hello, or says something impossible."""
    KEY = "key"
    """Its proof does not fit: another key, another cluster, or a replayed Hello."""
    CLUSTER = "cluster"
    """It says that it belongs to another cluster, and declines by itself."""
    NAME_TAKEN = "name-taken"
    """Another machine has this name and is not dead."""
    INSTANCE_COPIED = "instance-copied"
    """Its instance belongs to a host of another name: a copied state directory."""
    STALE_INCARNATION = "stale-incarnation"
    """The host was seen at a higher incarnation: its state directory is an old copy."""
    LATE = "late"
    """It did not say Hello in time."""
    BUSY = "busy"
    """Too many connections are shaking hands at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The host may not connect; `reason` says what a person has to change."""

    code: RefusalCode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The host may connect. `replaces`: the dead machine that had this name."""

    replaces: InstanceId | None = None


@dataclass(slots=True, kw_only=True)
class _Known:
    instance: InstanceId
    incarnation: Incarnation
    admin_up: bool
    heard_s: float
    """Monotonic; the controller's start for a host that was not heard since."""
    is_heard: bool = False
    """Since the controller's start."""


class Roster:
    """Every host of the cluster, and the machine behind its name."""

    def __init__(
        self,
        stored: Mapping[HostName, HostRecord],
        names: Mapping[HostName, NameRecord] | None = None,
        *,
        dead_after_s: float,
        now: float,
    ) -> None:
        """`names`: also of hosts that were deleted."""
        self._dead_after_s = dead_after_s
        self._names = {name: _name_record(host) for name, host in stored.items()} | dict(names or {})
        self._known = {
            name: _Known(
                instance=host.facts.instance, incarnation=host.incarnation, admin_up=host.admin_up, heard_s=now
            )
            for name, host in stored.items()
        }

    def consider(self, facts: HostFacts, incarnation: Incarnation, now: float) -> Admission | Refusal:
        """May this machine connect under this name now? Changes nothing."""
        if reason := _impossible(facts, incarnation):
            return Refusal(code=RefusalCode.MALFORMED, reason=reason)
        for name, other in self._known.items():
            if other.instance == facts.instance and name != facts.name:
                return _copied(facts, name)
        known = self._known.get(facts.name)
        if known is None:
            return Admission()
        if known.instance != facts.instance:
            return self._other_machine(facts, known, now)
        if self._went_back(facts, incarnation):
            return _stale(facts, incarnation, known.incarnation)
        return Admission()

    def name_record(self, facts: HostFacts, incarnation: Incarnation) -> NameRecord:
        """What is to be known of the name once this machine connects under it: `started` is the incarnation that counts
        as its own, `outlived` what it has to be above. To be stored before the machine hears of it.
        """
        known = self._names.get(facts.name)
        if known is None:
            return NameRecord(instance=facts.instance, started=incarnation, highest=incarnation, outlived=NOBODY)
        outlived, confirmed = known.outlived, known.confirmed
        if known.instance != facts.instance or self._went_back(facts, incarnation):
            outlived = others_up_to(known.highest)
        started = max(incarnation, Incarnation(outlived + 1))
        return NameRecord(
            instance=facts.instance,
            started=started,
            highest=max(known.highest, started),
            outlived=outlived,
            confirmed=confirmed,
        )

    def highest(self, name: HostName) -> Incarnation | None:
        """The highest incarnation that was heard of a name; None if no host ever had it."""
        known = self._names.get(name)
        return None if known is None else known.highest

    def bar(self, name: HostName, up_to: Incarnation) -> None:
        """An operator confirms that the machine is off: whoever comes under its name has to be above this."""
        known = self._names[name]
        self._names[name] = replace(
            known,
            highest=max(known.highest, up_to),
            outlived=max(known.outlived, up_to),
            confirmed=max(known.confirmed, up_to),
        )

    def is_off(self, name: HostName) -> bool:
        """Whether an operator confirmed that its machine is off, and it did not connect since."""
        known = self._names.get(name)
        return known is not None and known.is_off

    def _went_back(self, facts: HostFacts, incarnation: Incarnation) -> bool:
        """Whether a machine is at an earlier start than it was: its state directory is an old copy."""
        known = self._names.get(facts.name)
        if known is None or known.instance != facts.instance:
            return False
        return max(incarnation, known.outlived + 1) < known.started

    def risen(self, name: HostName, incarnation: Incarnation) -> NameRecord | None:
        """A host is at this incarnation, or above; what is known of its name, if that is news and can be."""
        known = self._names.get(name)
        if known is None or not known.highest < incarnation < _LARGEST:
            return None
        self._names[name] = replace(known, highest=incarnation)
        return self._names[name]

    def _other_machine(self, facts: HostFacts, known: _Known, now: float) -> Admission | Refusal:
        silent_s = now - known.heard_s
        if silent_s >= self._dead_after_s or self.is_off(facts.name):
            return Admission(replaces=known.instance)
        heard = "last heard" if known.is_heard else "not heard since the controller's start"
        return Refusal(
            code=RefusalCode.NAME_TAKEN,
            reason=(
                f"the name {facts.name} belongs to another machine (instance {known.instance}, {heard} "
                f"{silent_s:.0f} s ago; this one is instance {facts.instance}): give this machine another --name, or "
                f"wait until the other one has been silent for {self._dead_after_s:g} s, or delete its agent"
            ),
        )

    def admit(self, facts: HostFacts, incarnation: Incarnation, now: float) -> NameRecord:
        """This machine has the name from now on."""
        before = self._known.get(facts.name)
        record = self._names[facts.name] = self.name_record(facts, incarnation)
        self._known[facts.name] = _Known(
            instance=facts.instance,
            incarnation=record.started,
            admin_up=before is None or before.admin_up,
            heard_s=now,
            is_heard=True,
        )
        return record

    def heard(self, name: HostName, now: float) -> None:
        """A message of the host arrived. A name that was forgotten meanwhile is ignored."""
        if known := self._known.get(name):
            known.heard_s = max(known.heard_s, now)
            known.is_heard = True

    def excuse(self, seconds: float, now: float) -> None:
        """The controller was away until now: so much of every silence is held against nobody."""
        for known in self._known.values():
            known.heard_s = max(known.heard_s, min(now, known.heard_s + seconds))

    def forget(self, name: HostName) -> None:
        """The host was deleted: its name is free. What its incarnations were is not forgotten."""
        self._known.pop(name, None)

    def is_known(self, facts: HostFacts) -> bool:
        """Whether the name belongs to this very machine already."""
        known = self._known.get(facts.name)
        return known is not None and known.instance == facts.instance

    def set_admin_up(self, name: HostName, admin_up: bool) -> None:
        """An operator took the host out of service, or put it back."""
        if known := self._known.get(name):
            known.admin_up = admin_up

    def is_admin_up(self, name: HostName) -> bool:
        """Whether the host is in service; a host that is not known is."""
        known = self._known.get(name)
        return known is None or known.admin_up


def _name_record(host: HostRecord) -> NameRecord:
    """Of a host that nothing else is known of."""
    return NameRecord(instance=host.facts.instance, started=host.incarnation, highest=host.incarnation, outlived=NOBODY)


def _impossible(facts: HostFacts, incarnation: Incarnation) -> str:
    """What is wrong with what a host says of itself; "" if nothing is."""
    if not _NAME.fullmatch(facts.name):
        return "a host's name is 1 to 255 letters, digits, '.', '_' or '-', beginning and ending with a letter or digit"
    if not _is_uuid(facts.instance):
        return "the instance is not a UUID in canonical form"
    if not 0 <= incarnation < _LARGEST or not 0 <= facts.capacity < _LARGEST:
        return "incarnation and capacity are whole numbers from 0"
    if facts.tracked_most is not None and not 0 <= facts.tracked_most < _LARGEST:
        return "the most connections that a host tracks are a whole number from 0"
    if not _NAME.fullmatch(facts.availability_zone) or not all(map(_NAME.fullmatch, facts.physical_networks)):
        return "names of availability zones and physical networks are letters, digits, '.', '_' or '-'"
    if facts.data_address is not None and not _is_ipv4(facts.data_address):
        return "the data address is not an IPv4 address"
    return ""


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _copied(facts: HostFacts, owner: HostName) -> Refusal:
    return Refusal(
        code=RefusalCode.INSTANCE_COPIED,
        reason=(
            f"{facts.name} carries the instance {facts.instance} of the host {owner}: its state directory is a copy. "
            f"Stop {facts.name}, empty its state directory and start it again; or, if {owner} was renamed, delete the "
            f"agent of {owner} first"
        ),
    )


def _stale(facts: HostFacts, incarnation: Incarnation, seen: Incarnation) -> Refusal:
    return Refusal(
        code=RefusalCode.STALE_INCARNATION,
        reason=(
            f"{facts.name} says that this is its start number {incarnation}, but start number {seen} was seen already: "
            "its state directory is an old copy, or two machines share it. Stop the other one; or stop this one, empty "
            "its state directory and delete the agent"
        ),
    )

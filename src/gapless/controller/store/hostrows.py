"""Rows of hosts and of their names, and what the rest of the controller makes of them.

A host is what connects now; a name is all that was ever known under it, whichever machines had it. So an operator may
delete a host, and what its name has used up (`NameRecord`) stays.

The rule: what is known of a name only grows. What a host says never takes back what an operator confirmed.

Times are dates for people (`controller.wallclock`); every decision is made from the monotonic clock, elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store.tables import HostNameRow, HostRow
from gapless.errors import NotFound
from gapless.model.host import HostFacts, HostName, Incarnation, InstanceId
from gapless.model.lease import NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host as the store knows it."""

    facts: HostFacts
    incarnation: Incarnation
    admin_up: bool
    heartbeat_at: datetime
    drains_at_once: int | None = None
    """How many routers may be on their way from it at a time; None: nobody said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRecord:
    """What is known of a host's name, whichever machines had it (`tables.HostNameRow`)."""

    instance: InstanceId
    started: Incarnation
    highest: Incarnation
    outlived: Incarnation
    confirmed: Incarnation = NOBODY

    @property
    def is_off(self) -> bool:
        """An operator confirmed that its machine is off, and it did not connect since."""
        return self.confirmed >= self.started


async def hosts(session: AsyncSession) -> dict[HostName, HostRecord]:
    """Every host that has connected at least once and was not deleted."""
    rows = await session.scalars(select(HostRow))
    return {HostName(row.name): _host(row) for row in rows}


def _host(row: HostRow) -> HostRecord:
    said = {**row.facts, "name": row.name, "instance": row.instance}
    return HostRecord(
        facts=msgspec.convert(said, HostFacts),
        incarnation=Incarnation(row.incarnation),
        admin_up=row.admin_state_up,
        heartbeat_at=row.heartbeat_at,
        drains_at_once=row.drains_at_once,
    )


def set_admin_up(row: HostRow, *, admin_up: bool) -> None:
    """An operator takes a host out of service, or puts it back, which ends its drain and with that its pace."""
    if admin_up:
        row.drains_at_once = None
    row.admin_state_up = admin_up


async def save_host(session: AsyncSession, facts: HostFacts, incarnation: Incarnation, at: datetime) -> None:
    """Store what a host said when it connected. What operators set (service, pace, description) stays.

    Raises LostRace where another name already has this instance.
    """
    if not await save_known_host(session, facts, incarnation, at):
        row = HostRow(name=facts.name, admin_state_up=True, created_at=at, started_at=at, incarnation=incarnation)
        session.add(row)
        await _fill(session, row, facts, incarnation, at)


async def save_known_host(session: AsyncSession, facts: HostFacts, incarnation: Incarnation, at: datetime) -> bool:
    """As `save_host`, for a host that is stored already; false, and nothing is stored, if it was deleted."""
    row = await session.get(HostRow, facts.name)
    if row is None:
        return False
    await _fill(session, row, facts, incarnation, at)
    return True


async def _fill(session: AsyncSession, row: HostRow, facts: HostFacts, incarnation: Incarnation, at: datetime) -> None:
    if row.instance != facts.instance or row.incarnation != incarnation:
        row.started_at = at
    row.instance = facts.instance
    row.incarnation = incarnation
    row.facts = msgspec.to_builtins(facts)
    row.heartbeat_at = at
    await session.flush()


async def names(session: AsyncSession) -> dict[HostName, NameRecord]:
    """Every name that a host ever connected under."""
    return {
        HostName(row.name): NameRecord(
            instance=InstanceId(row.instance),
            started=Incarnation(row.started),
            highest=Incarnation(row.highest),
            outlived=Incarnation(row.outlived),
            confirmed=Incarnation(row.confirmed),
        )
        for row in await session.scalars(select(HostNameRow))
    }


async def save_names(session: AsyncSession, known: Mapping[HostName, NameRecord]) -> None:
    """Store what is known of these names. What an operator confirmed meanwhile stays."""
    for name, record in known.items():
        row = await session.get(HostNameRow, name)
        if row is None:
            row = HostNameRow(name=name, highest=0, outlived=0, confirmed=0)
            session.add(row)
        row.instance, row.started = record.instance, record.started
        row.highest, row.outlived = max(row.highest, record.highest), max(row.outlived, record.outlived)
        row.confirmed = max(row.confirmed, record.confirmed)
    await session.flush()


async def confirm_off(session: AsyncSession, words: Mapping[HostName, Incarnation]) -> None:
    """Store an operator's word that these machines are off, each up to an incarnation. Raises NotFound."""
    for name, up_to in words.items():
        row = await session.get(HostNameRow, name)
        if row is None:
            raise NotFound(f"no host {name} ever connected")
        row.highest, row.outlived, row.confirmed = (
            max(known, up_to) for known in (row.highest, row.outlived, row.confirmed)
        )
    await session.flush()


async def save_heartbeats(session: AsyncSession, heard: Mapping[HostName, datetime]) -> set[HostName]:
    """Store when hosts were last heard, for people. Of those that were deleted nothing is stored; returns them."""
    if heard:
        one = update(HostRow).where(HostRow.name == bindparam("host")).values(heartbeat_at=bindparam("at"))
        connection = await session.connection()  # The session itself would insist on a row for each.
        await connection.execute(one, [{"host": name, "at": at} for name, at in heard.items()])
    there = await session.scalars(select(HostRow.name).where(HostRow.name.in_(heard)))
    return heard.keys() - {HostName(name) for name in there}

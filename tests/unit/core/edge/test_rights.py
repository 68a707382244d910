"""The rights that a host holds, by what they wait for."""

import pytest

from gapless.core.edge.beatevents import Right
from gapless.core.edge.rights import HeldRights
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

R1, R2, R3 = (RouterId(name) for name in ("r1", "r2", "r3"))
A, B = (Tenure(HostName(name), Incarnation(1)) for name in "ab")
ONE, BOTH = (A,), (A, B)


@pytest.fixture
def rights() -> HeldRights:
    return HeldRights(
        {
            R1: Right(epoch=Epoch(1), after=ONE),
            R2: Right(epoch=Epoch(2), after=ONE),
            R3: Right(epoch=Epoch(3), after=BOTH),
        }
    )


def waiting(rights: HeldRights) -> dict[tuple[Tenure, ...], set[RouterId]]:
    return {after: set(routers) for after, routers in rights.waiting().items()}


def test_they_are_found_by_router_and_by_what_they_wait_for(rights: HeldRights) -> None:
    assert rights.find(R3) == Right(epoch=Epoch(3), after=BOTH)
    assert rights.find(RouterId("another")) is None
    assert waiting(rights) == {ONE: {R1, R2}, BOTH: {R3}}


def test_one_that_is_used_is_gone_and_nothing_is_waited_for_by_nobody(rights: HeldRights) -> None:
    rights.use(R1)
    assert (rights.find(R1), waiting(rights)) == (None, {ONE: {R2}, BOTH: {R3}})
    rights.use(R3)
    assert waiting(rights) == {ONE: {R2}}
    with pytest.raises(KeyError):
        rights.use(R3)


def test_all_that_wait_for_the_same_are_used_together(rights: HeldRights) -> None:
    assert rights.use_all(ONE) == {R1: 1, R2: 2}
    assert (rights.find(R1), rights.find(R2), waiting(rights)) == (None, None, {BOTH: {R3}})
    with pytest.raises(KeyError):
        rights.use_all(ONE)

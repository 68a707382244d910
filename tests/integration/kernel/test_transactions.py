"""What the kernel's refusal of an nftables transaction says of the ruleset that it was made for."""

import errno
from collections.abc import Iterator

import pytest

from gapless.errors import Conflict
from gapless.kernel import transactions
from gapless.kernel.netlink import attribute, attributes
from gapless.kernel.transactions import Refusal, Transactions, following
from gapless.sentinel.beat import nftables

pytestmark = pytest.mark.isolated

BAD = [nftables.new_table("good", None), nftables.clear_set("nowhere", "nothing")]


@pytest.fixture
def kernel() -> Iterator[Transactions]:
    with Transactions() as made:
        made.commit([nftables.new_table("good", None)], None, "begin")
        yield made


def test_a_message_is_refused_only_after_the_generation_was_found_to_be_the_expected_one(kernel: Transactions) -> None:
    generation = kernel.generation()
    with pytest.raises(Refusal) as refused:
        kernel.commit(BAD, generation, "try")
    assert (refused.value.number, refused.value.is_at_generation) == (errno.ENOENT, True)
    assert kernel.generation() == generation
    with pytest.raises(Conflict):
        kernel.commit(BAD, generation + 1, "try")
    with pytest.raises(Refusal) as refused:
        kernel.commit(BAD, None, "try")
    assert not refused.value.is_at_generation, "none was expected"


def test_a_transaction_that_changes_nothing_leaves_the_generation_as_it_is(kernel: Transactions) -> None:
    before = kernel.generation()
    kernel.commit([nftables.new_table("good", None)], before, "nothing new")
    assert kernel.generation() == before
    kernel.commit([nftables.new_table("better", None)], before, "something new")
    assert kernel.generation() == following(before)


def test_what_was_made_is_told_also_where_the_first_message_asks_for_it(kernel: Transactions) -> None:
    """Then the kernel tells the generation, too."""
    told = kernel.commit([nftables.new_table(name, 0) for name in ("first", "second")], None, "make two")
    assert [attributes(body, transactions.GENERAL.size)[1] for _, body in told] == [b"first\0", b"second\0"]


def test_a_transaction_that_is_refused_as_such_says_nothing_of_the_generation(
    kernel: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the kernel has no memory to look at it."""
    monkeypatch.setattr(transactions, "attribute", lambda kind, _: attribute(kind, b"x"))
    with pytest.raises(Refusal) as refused:
        kernel.commit(BAD, 1, "try")
    assert not refused.value.is_at_generation


def test_numbers_of_messages_begin_anew_before_they_are_too_large(kernel: Transactions) -> None:
    for left in range(4):
        kernel._numbers.last = 0xFFFFFFFF - left
        generation = kernel.generation()
        kernel._numbers.last = 0xFFFFFFFF - left
        (told,) = kernel.commit([nftables.new_table(f"after-{left}", 0)], generation, "make one")
        assert attributes(told[1], transactions.GENERAL.size)[1] == f"after-{left}\0".encode()
        assert (kernel._numbers.last == 3) is (left < 3)

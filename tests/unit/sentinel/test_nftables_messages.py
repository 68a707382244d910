"""What nftables is told, as bytes: what is packed once is what would be packed each time."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.kernel.netlink import attribute, nested, text
from gapless.kernel.transactions import following
from gapless.sentinel.beat.nftables import Shape, made, number, range_element

keys = st.sampled_from([4, 8, 16]).flatmap(lambda size: st.tuples(*[st.binary(min_size=size, max_size=size)] * 2))


@given(keys, st.integers(min_value=0, max_value=2**64 - 1))
def test_a_range_is_two_elements_with_a_timeout_at_the_first(ends: tuple[bytes, bytes], timeout_ms: int) -> None:
    start, end = ends
    opening = nested(1, nested(1, attribute(1, start)), attribute(4, struct.pack("!Q", timeout_ms)))
    closing = nested(1, nested(1, attribute(1, end)), number(3, 1))
    assert range_element(start, end, timeout_ms) == opening + closing


def test_of_all_that_a_transaction_made_a_table_is_known_by_its_parts() -> None:
    def told(kind: int, *attributes: bytes) -> tuple[int, bytes]:
        return kind, bytes(4) + b"".join(attributes)

    handle = bytes(7) + b"\5"
    table = told(0, text(1, "guard"), number(2, 4), attribute(4, handle))
    rule = told(6, text(1, "guard"), text(2, "arriving"), attribute(3, handle))
    element = told(12, text(1, "guard"), text(2, "lease"))
    assert made([table, element, rule]) == Shape(4, 5, frozenset(), (("arriving", 5),), frozenset())


@pytest.mark.parametrize(("generation", "after"), [(1, 2), (0xFFFFFFFE, 0xFFFFFFFF), (0xFFFFFFFF, 1)])
def test_generations_are_of_32_bits_and_never_0(generation: int, after: int) -> None:
    assert following(generation) == after

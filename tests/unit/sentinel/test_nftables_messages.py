"""What nftables is told, as bytes: what is packed once is what would be packed each time."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.kernel.netlink import attribute, nested
from gapless.kernel.transactions import following
from gapless.sentinel.beat.nftables import number, range_element

keys = st.sampled_from([4, 8, 16]).flatmap(lambda size: st.tuples(*[st.binary(min_size=size, max_size=size)] * 2))


@given(keys, st.integers(min_value=0, max_value=2**64 - 1))
def test_a_range_is_two_elements_with_a_timeout_at_the_first(ends: tuple[bytes, bytes], timeout_ms: int) -> None:
    start, end = ends
    opening = nested(1, nested(1, attribute(1, start)), attribute(4, struct.pack("!Q", timeout_ms)))
    closing = nested(1, nested(1, attribute(1, end)), number(3, 1))
    assert range_element(start, end, timeout_ms) == opening + closing


@pytest.mark.parametrize(("generation", "after"), [(1, 2), (0xFFFFFFFE, 0xFFFFFFFF), (0xFFFFFFFF, 1)])
def test_generations_are_of_32_bits_and_never_0(generation: int, after: int) -> None:
    assert following(generation) == after

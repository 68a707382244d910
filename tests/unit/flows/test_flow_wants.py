"""What a follower asks for, in frames that a source takes."""

from hypothesis import given
from hypothesis import strategies as st

from gapless.flows.sink import AT_ONCE, _parts
from gapless.model.router import RouterId
from gapless.wire.flows import BODY_BYTES_MAX, Wanted, wanted
from gapless.wire.messages import encode


@given(added=st.integers(0, 3 * AT_ONCE), dropped=st.integers(0, 3 * AT_ONCE))
def test_all_is_said_in_the_order_of_its_numbers_and_each_frame_is_short(added: int, dropped: int) -> None:
    words = Wanted(add={number: RouterId("r" * 36) for number in range(added)}, drop=tuple(range(5000, 5000 + dropped)))
    said = [encode(part) for part in _parts(words)]
    assert all(len(body) < BODY_BYTES_MAX for body in said)
    heard = [wanted.decode(body) for body in said]
    assert [number for part in heard for number in part.add] == list(range(added))
    assert tuple(number for part in heard for number in part.drop) == words.drop

"""Decoding what peers say: anything that is no message is refused in few words."""

import pytest

from gapless.wire import messages
from gapless.wire.messages import MALFORMED_CHARS_MAX, Malformed

BROKEN = {
    "nothing": b"",
    "no JSON": b"\x00",
    "no UTF-8": b'{"type": "\xff"}',
    "unknown type": b'{"type": "' + b"x" * 100_000 + b'"}',
    "bottomless": b"[" * 100_000,
    "no address": b'{"type":"snapshot","revision":1,"routers":[{"router":1}]}',
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("direction", ["from_controller", "from_host", "to_agent", "from_agent"])
def test_what_is_no_message_is_refused_in_few_words(direction: str, raw: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        getattr(messages, direction).decode(raw)
    assert 0 < len(str(refusal.value)) <= MALFORMED_CHARS_MAX

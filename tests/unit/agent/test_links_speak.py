"""Whether the host itself may speak IPv6 by a link, as the kernel says it of the link's address families."""

import socket
import struct

import pytest

from gapless.agent.kernel import links
from gapless.kernel.netlink import attribute, nested, u32

IFINFO = bytes(16)
AF_SPEC, CONF, FLAGS = 26, 2, 1
DISABLE_IPV6, SETTINGS = 26, 60


def conf(*, disabled: int) -> bytes:
    values = [7] * SETTINGS
    values[DISABLE_IPV6] = disabled
    return attribute(CONF, struct.pack(f"={SETTINGS}i", *values))


def of_ipv6(*said: bytes) -> bytes:
    return nested(socket.AF_INET6, u32(FLAGS, 0), *said)


@pytest.mark.parametrize(
    ("families", "speaks"),
    [
        ([nested(socket.AF_INET, conf(disabled=0)), of_ipv6(conf(disabled=0))], True),
        ([nested(socket.AF_INET, conf(disabled=0)), of_ipv6(conf(disabled=1))], False),
        ([nested(socket.AF_INET, conf(disabled=0))], False),
        ([of_ipv6()], False),
        ([of_ipv6(attribute(CONF, bytes(4 * DISABLE_IPV6)))], False),
        ([], False),
    ],
    ids=["on", "off", "a host without IPv6", "nothing is said", "it is not among what is said", "no families"],
)
def test_where_ipv6_is_on(families: list[bytes], speaks: bool) -> None:
    assert links.decode(IFINFO + nested(AF_SPEC, *families)).speaks_ipv6 is speaks

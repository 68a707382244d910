"""Each value as Neutron takes it, or refused in Neutron's words."""

from collections.abc import Callable
from typing import Any

import pytest

from gapless.controller.api import validators as v
from gapless.controller.api.validators import Malformed

UUID = "6f1ed002-ab59-42d6-a4a5-5bd4b3b1b1a1"


@pytest.mark.parametrize(
    ("check", "sent", "kept"),
    [
        (v.boolean, True, True),
        (v.boolean, "False", False),
        (v.boolean, 1, True),
        (v.boolean, "off", False),
        (v.integer(1, 10), "7", 7),
        (v.integer(1, 10), 10, 10),
        (v.one_of(4, 6), "4", 4),
        (v.one_of("vxlan", "flat"), "flat", "flat"),
        (v.name, "", ""),
        (v.name, "röuter 1", "röuter 1"),
        (v.name, " padded ", " padded "),
        (
            v.name,
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        (v.name, "\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
        (v.uuid, UUID.upper(), UUID),
        (v.uuid, UUID.replace("-", ""), UUID),
        (v.mac_address, "FA:16:3E:00:00:01", "fa:16:3e:00:00:01"),
        (v.mac_address, "fa-16-3e-00-00-01", "fa:16:3e:00:00:01"),
        (v.ip_address, "10.0.0.1", "10.0.0.1"),
        (v.subnet, "10.0.0.7/24", "10.0.0.0/24"),
        (v.subnet, "0.0.0.0/0", "0.0.0.0/0"),
        (v.route_cidr, "10.1.0.0/16", "10.1.0.0/16"),
        (v.or_none(v.uuid), None, None),
        (v.or_nothing(v.mapping(a=v.Key(v.uuid, required=True))), {}, None),
        (v.empty_for_none(v.routes), None, []),
        (
            v.fixed_ips,
            [{"subnet_id": UUID}, {"ip_address": "10.0.0.5"}],
            [{"subnet_id": UUID}, {"ip_address": "10.0.0.5"}],
        ),
        (v.allocation_pools, [{"start": "10.0.0.2", "end": "10.0.0.9"}], [{"start": "10.0.0.2", "end": "10.0.0.9"}]),
        (v.nameservers, ["10.0.0.1"], ["10.0.0.1"]),
        (v.only_false("flying"), "no", False),
        (v.only_empty("flying"), [], None),
    ],
)
def test_what_is_well_formed_comes_out_in_canonical_form(check: Callable[[Any], Any], sent: Any, kept: Any) -> None:
    assert check(sent) == kept


@pytest.mark.parametrize(
    ("check", "sent", "reason"),
    [
        (v.boolean, "maybe", "'maybe' cannot be converted to boolean"),
        (v.boolean, None, "'None' cannot be converted to boolean"),
        (v.only_false("a distributed router"), True, "a distributed router is not supported"),
        (v.only_empty("a security group"), [UUID], "a security group is not supported"),
        (v.integer(1, 10), "x", "'x' is not an integer"),
        (v.integer(1, 10), True, "'True' is not an integer"),
        (v.integer(1, 10), 1.5, "'1.5' is not an integer"),
        (v.integer(1, 10), float("inf"), "'inf' is not an integer"),
        (v.integer(1, 10), 0, "'0' is too small - must be at least '1'"),
        (v.integer(1, 10), 11, "'11' is too large - must be no larger than '10'"),
        (v.one_of(4, 6), 5, "5 is not in [4, 6]"),
        (v.one_of(4, 6), [], "[] is not in [4, 6]"),
        (v.text(3), 5, "'5' is not a valid string"),
        (v.text(3), "four", "'four' exceeds maximum length of 3"),
        (v.name, "two\nlines", "'two\nlines' is not a valid string"),
        (v.name, "\x1b[2J", "'\x1b[2J' is not a valid string"),
        (v.name, "\x85", "'\x85' is not a valid string"),
        (v.name, "half \ud83d", "'half \ud83d' is not a valid string"),
        (v.non_empty_text(64), " ", "' ' Blank strings are not permitted"),
        (v.uuid, "abc", "'abc' is not a valid UUID"),
        (v.uuid, 7, "'7' is not a valid UUID"),
        (v.uuid, {"a": 1}, "'{'a': 1}' is not a valid UUID"),
        (v.mac_address, "fa:16:3e:00:00", "'fa:16:3e:00:00' is not a valid MAC address"),
        (v.mac_address, "00:00:00:00:00:00", "'00:00:00:00:00:00' is not a valid MAC address"),
        (
            v.mac_address,
            "01:00:5e:00:00:01",
            "MAC address 01:00:5e:00:00:01 is a multicast address, which is not supported",
        ),
        (v.ip_address, "10.0.0.256", "'10.0.0.256' is not a valid IP address"),
        (v.ip_address, "10.0.0.01", "'10.0.0.01' is not an accepted IP address, '10.0.0.1' is recommended"),
        (v.ip_address, f"10.0.0.{'1' * 5000}", f"'10.0.0.{'1' * 5000}' is not a valid IP address"),
        (v.ip_address, "fd00::1", "'fd00::1' is an IPv6 address, and only IPv4 is supported"),
        (v.ip_address, 3232235777, "'3232235777' is not a valid IP address"),
        (v.subnet, "10.0.0.0", "'10.0.0.0' is not a valid IP subnet"),
        (v.subnet, "10.0.0.0/33", "'10.0.0.0/33' is not a valid IP subnet"),
        (v.subnet, "10.0.0.0/255.0.0.0", "'10.0.0.0/255.0.0.0' is not a valid IP subnet"),
        (v.subnet, "fd00::/64", "'fd00::/64' is an IPv6 network, and only IPv4 is supported"),
        (
            v.subnet,
            "224.0.0.0/8",
            "Subnet 224.0.0.0/8 overlaps with multicast range 224.0.0.0/4, which is not supported",
        ),
        (v.route_cidr, "10.0.0.1/24", "'10.0.0.1/24' is not a valid CIDR"),
        (v.route_cidr, "127.0.0.0/8", "'127.0.0.0/8' is not a routable CIDR"),
        (v.mapping(a=v.Key(v.uuid)), [], "'[]' is not a dictionary"),
        (v.mapping(a=v.Key(v.uuid)), {"b": 1}, "Unexpected keys supplied: b"),
        (
            v.mapping(a=v.Key(v.uuid, required=True)),
            {"b": 1},
            "Validation of dictionary's keys failed. Expected keys: {'a'} Provided keys: {'b'}",
        ),
        (v.unique_texts(9), ["a", "a"], "Duplicate items in the list: 'a'"),
        (v.unique_texts(9), "a", "'a' is not a list"),
        (v.unique_texts(9), ["a"] * 1001, "a list may have 1000 items, and not 1001"),
        (v.fixed_ips, [{}] * 1001, "a list may have 1000 items, and not 1001"),
        (v.allocation_pools, [{}] * 1001, "a list may have 1000 items, and not 1001"),
        (v.nameservers, [""] * 1001, "a list may have 1000 items, and not 1001"),
        (v.routes, [{}] * 1001, "a list may have 1000 items, and not 1001"),
        (v.fixed_ips, {"ip_address": "10.0.0.1"}, "Invalid data format for fixed IP: '{'ip_address': '10.0.0.1'}'"),
        (v.fixed_ips, [{"ip_address": "10.0.0.1"}] * 2, "Duplicate IP address '10.0.0.1'"),
        (v.fixed_ips, [{"subnet_id": "x"}], "'x' is not a valid UUID"),
        (v.allocation_pools, "10.0.0.0", "Invalid data format for IP pool: '10.0.0.0'"),
        (
            v.allocation_pools,
            [{"start": "10.0.0.2"}],
            "Validation of dictionary's keys failed. Expected keys: {'end', 'start'} Provided keys: {'start'}",
        ),
        (v.nameservers, ["dns"], "'dns' is not a valid nameserver. 'dns' is not a valid IP address"),
        (v.nameservers, ["10.0.0.1"] * 2, "Duplicate nameserver '10.0.0.1'"),
        (
            v.routes,
            [{"destination": "10.0.0.0/8"}],
            "Validation of dictionary's keys failed. "
            "Expected keys: {'destination', 'nexthop'} Provided keys: {'destination'}",
        ),
        (
            v.routes,
            [{"destination": "10.0.0.0/8", "nexthop": "10.9.0.1"}] * 2,
            "Duplicate hostroute '{'destination': '10.0.0.0/8', 'nexthop': '10.9.0.1'}'",
        ),
    ],
)
def test_what_is_malformed_is_refused_in_neutrons_words(check: Callable[[Any], Any], sent: Any, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        check(sent)
    assert str(refused.value) == reason

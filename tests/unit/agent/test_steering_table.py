"""The steering table as the kernel shows it, and what is said to nft; no kernel is needed."""

from typing import Any

import pytest

from gapless.agent.kernel import steering
from gapless.kernel.netlink import as_text, attributes, each_attribute
from gapless.model.steering import Kind


def listing() -> list[dict[str, Any]]:
    """What a table that is as it was made lists."""
    listed: list[dict[str, Any]] = [{"metainfo": {}}, {"table": {"name": steering.TABLE}}]
    listed += [{"map" if kind is Kind.ASKED else "set": {"name": kind.value}} for kind in Kind]
    for name, (hook, rules) in steering._CHAINS.items():
        chain: dict[str, Any] = {"name": name}
        if hook is not None:
            chain |= {"hook": hook[0], "prio": hook[1], "policy": "accept"}
        listed.append({"chain": chain})
        listed += [{"rule": {"chain": name, "comment": comment}} for _, comment in rules]
    return listed


def of_kind(listed: list[dict[str, Any]], word: str) -> dict[str, Any]:
    found: dict[str, Any] = next(it[word] for it in listed if word in it)
    return found


def test_keys_are_read_as_they_were_written() -> None:
    name = b"eth1".ljust(16, b"\0")
    assert steering._decoded(Kind.ASKED, name + bytes((203, 0, 113, 10))) == ("eth1", "203.0.113.10")
    assert steering._decoded(Kind.NEXT_HOPS, bytes((10, 0, 0, 1, 10, 0, 0, 2))) == ("10.0.0.1", "10.0.0.2")
    assert steering._decoded(Kind.INLETS, name) == ("eth1",)
    assert steering._decoded(Kind.STEERED, bytes.fromhex("be163e000002")) == ("be:16:3e:00:00:02",)


def lose_rule(listed: list[dict[str, Any]]) -> None:
    listed.remove(next(it for it in listed if "rule" in it))


def add_rule(listed: list[dict[str, Any]]) -> None:
    listed.append({"rule": {"chain": "arriving"}})


def lose_set(listed: list[dict[str, Any]]) -> None:
    listed.remove(next(it for it in listed if "set" in it))


def move_chain(listed: list[dict[str, Any]]) -> None:
    next(it["chain"] for it in listed if it.get("chain", {}).get("name") == "leaving")["prio"] = 0


def drop_all(listed: list[dict[str, Any]]) -> None:
    next(it["chain"] for it in listed if it.get("chain", {}).get("name") == "leaving")["policy"] = "drop"


def put_to_sleep(listed: list[dict[str, Any]]) -> None:
    of_kind(listed, "table")["flags"] = ["dormant"]


@pytest.mark.parametrize(
    "harm",
    [lose_rule, add_rule, lose_set, move_chain, drop_all, put_to_sleep],
    ids=lambda it: it.__name__,
)
def test_a_table_that_was_changed_is_none_of_ours(harm: Any) -> None:
    listed = listing()
    assert steering._is_as_made(listed)
    harm(listed)
    assert not steering._is_as_made(listed)


def test_one_message_a_set() -> None:
    places: list[tuple[Kind, tuple[str, ...]]] = [
        (Kind.ASKED, ("eth1", "203.0.113.10")),
        (Kind.ASKED, ("eth1", "203.0.113.11")),
        (Kind.NEXT_HOPS, ("203.0.113.1", "203.0.113.1")),
    ]
    macs = {places[0]: "be:00:00:00:00:01", places[1]: "be:00:00:00:00:02"}
    said = [(message.type, attributes(message.body)) for message in steering._messages(12, places, macs)]
    assert [(verb, as_text(of_set[1]), as_text(of_set[2])) for verb, of_set in said] == [
        (12, "gapless_arp", "asked"),
        (12, "gapless_arp", "next_hops"),
    ]
    asked = [attributes(each) for _, each in each_attribute(said[0][1][3])]
    assert [steering._decoded(Kind.ASKED, attributes(each[1])[1]) for each in asked] == [key for _, key in places[:2]]
    assert [attributes(each[2])[1].hex(":") for each in asked] == ["be:00:00:00:00:01", "be:00:00:00:00:02"]
    ((_, next_hop),) = each_attribute(said[1][1][3])
    assert attributes(next_hop).keys() == {1}, "a set has no values"

"""What rules are held against, with a kernel that lists what the test says; no namespace is made."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from kernel_in_memory import with_gateway

from gapless.agent.kernel import reference, ruleset
from gapless.agent.kernel.reference import AGAIN_S, Reference
from gapless.agent.kernel.rulecopies import Copied
from gapless.agent.kernel.tables import Chain, Rule
from gapless.core.dataplane.desired import gateway_link
from gapless.errors import Unavailable
from gapless.kernel.transactions import Message
from gapless.model.network import PortId
from gapless.model.router import FloatingIp, Route, Router, RouterId

HANGS_S = 60.0
"""Nothing takes that long: who does not come back by then never does."""

ROUTER = with_gateway("r1").router
assert ROUTER.gateway is not None
OTHER = replace(
    ROUTER,
    gateway=replace(
        ROUTER.gateway,
        port=replace(ROUTER.gateway.port, id=PortId("another"), addresses=(IPv4Interface("203.0.113.99/24"),)),
    ),
    floating_ips=(FloatingIp(id="f", address=IPv4Address("203.0.113.20"), fixed_address=IPv4Address("10.0.0.5")),),
)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def as_the_kernel_lists(text: str) -> tuple[Chain, ...]:
    """One chain with one rule: the name and the address in the text, in the kernel's form."""
    words = text.replace('"', " ").replace(";", " ").split()
    name = next((it for it in words if it.startswith("qg-")), "")
    address = next(
        (words[at + 2] for at, it in enumerate(words) if it == "snat" and words[at + 2][0].isdigit()), "0.0.0.0"
    )
    known = f"{name:\0<16}".encode() + IPv4Address(address).packed
    return (Chain(name="postrouting", type="nat", hook="postrouting", rules=(Rule("SNAT", b"oif" + known),)),)


def listing(monkeypatch: pytest.MonkeyPatch, lists: Callable[[str], tuple[Chain, ...]]) -> list[str]:
    """What is loaded to be listed, as it grows."""
    loaded: list[str] = []

    def listed(text: str) -> tuple[Chain, ...]:
        loaded.append(text)
        return lists(text)

    monkeypatch.setattr(reference, "_listed", listed)
    return loaded


def directly(router: Router) -> Mapping[str, str]:
    return ruleset.listed_digests(as_the_kernel_lists(ruleset.render(router).text))


def test_routers_that_differ_by_names_and_addresses_are_known_by_one_that_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = listing(monkeypatch, as_the_kernel_lists)
    known = Reference()
    assert known.of(ROUTER) == directly(ROUTER)
    assert known.of(OTHER) == directly(OTHER) != directly(ROUTER)
    assert len(loaded) == 2, "a stand-in, and one that it is proved with"
    assert gateway_link(ROUTER.gateway.port.id) not in "".join(loaded)  # type: ignore[union-attr]


def variants() -> list[Router]:
    """Routers of all kinds that there may be."""
    gateway = ROUTER.gateway
    assert gateway is not None
    without = replace(gateway, port=replace(gateway.port, addresses=()))
    ways = [None, *(replace(it, snat=snat) for it in (gateway, without) for snat in (False, True))]
    return [replace(OTHER, gateway=way, admin_up=is_up) for way in ways for is_up in (False, True)]


@pytest.mark.parametrize("router", variants())
def test_a_stand_in_has_the_same_rules_but_for_a_name_and_an_address(router: Router) -> None:
    stand_in = reference._standing_in(router, *reference._STAND_INS[0])
    text = without_seal(ruleset.render(stand_in).text)
    for whose, becomes in zip(words_of(stand_in), words_of(router), strict=True):
        assert whose in text
        text = text.replace(whose, becomes)
    assert text == without_seal(ruleset.render(replace(router, floating_ips=())).text)


def words_of(router: Router) -> list[str]:
    """The name and the address that are a router's own, as far as its rules have them."""
    if router.gateway is None or not router.admin_up:
        return []
    port = router.gateway.port
    return [gateway_link(port.id), *(str(held.ip) for held in port.addresses)]


def without_seal(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "chain text_" not in line)


def test_there_are_five_kinds_of_rules() -> None:
    stand_ins = {reference._standing_in(it, *reference._STAND_INS[0]) for it in variants()}
    assert len(stand_ins) == len({ruleset.render(it).text for it in stand_ins}) == 5


def test_rules_depend_on_nothing_that_a_stand_in_lacks() -> None:
    """Ports, routes and names of a router, the network and the MAC address of its gateway, and where that sends to."""
    gateway = ROUTER.gateway
    assert gateway is not None
    elsewhere = replace(gateway.port, network=replace(gateway.port.network, mtu=9000), mac="fa:16:3e:00:00:09")
    inside = replace(elsewhere, id=PortId("inside"), addresses=(IPv4Interface("10.0.0.1/24"),))
    changed = replace(
        ROUTER,
        id=RouterId("r9"),
        name="nine",
        ports=(*ROUTER.ports, inside),
        gateway=replace(gateway, port=elsewhere, next_hop=IPv4Address("203.0.113.254")),
        routes=(Route(destination=IPv4Network("10.9.0.0/16"), next_hop=IPv4Address("10.0.0.9")),),
    )
    assert ruleset.render(changed) == ruleset.render(ROUTER)
    assert ruleset.render(changed).text == ruleset.render(ROUTER).text


@pytest.mark.parametrize(
    "changed",
    [replace(ROUTER, admin_up=False), replace(ROUTER, gateway=None)],
    ids=["down", "without a gateway"],
)
def test_routers_with_other_rules_have_stand_ins_of_their_own(monkeypatch: pytest.MonkeyPatch, changed: Router) -> None:
    loaded = listing(monkeypatch, as_the_kernel_lists)
    known = Reference()
    known.of(ROUTER)
    known.of(changed)
    assert len(set(loaded)) == 3, "both stand-ins of the second are the same"


def by_hash(text: str) -> tuple[Chain, ...]:
    """As a library does it that compiles names in some other way, too."""
    (chain,) = as_the_kernel_lists(text)
    return (replace(chain, rules=(*chain.rules, Rule("", str(hash(text)).encode()))),)


def told(log_lines: list[str]) -> int:
    return len([line for line in log_lines if "known by their comments alone" in line])


def test_a_kernel_that_lists_a_name_in_another_form_too_is_no_witness_and_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    loaded = listing(monkeypatch, by_hash)
    clock = Clock()
    known = Reference(now=clock)
    for _ in range(10):
        assert known.of(ROUTER) == known.of(OTHER) == {}
        clock.now += 10 * AGAIN_S
    assert len(loaded) == 2
    assert told(log_lines) == 1


def test_where_no_namespace_is_to_be_had_nothing_is_known_until_there_is_one_and_it_is_tried_now_and_then(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    is_full = True

    def lists(text: str) -> tuple[Chain, ...]:
        if is_full:
            raise Unavailable("make a namespace without a name: no more")
        return as_the_kernel_lists(text)

    loaded = listing(monkeypatch, lists)
    clock = Clock()
    known = Reference(now=clock)
    for tries in (1, 2, 3):
        for router in (ROUTER, OTHER) * 10:
            assert known.of(router) == {}
        assert len(loaded) == tries, "the second of two is not come to"
        clock.now += AGAIN_S
    assert told(log_lines) == 1
    is_full = False
    assert known.of(ROUTER) == directly(ROUTER)
    assert known.of(OTHER) == directly(OTHER)


def test_of_routers_of_many_kinds_each_is_found_out_or_told_once(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    """What is known of one kind says nothing of another, nor does what is not."""
    with_floating_ip, down, inside = OTHER, replace(ROUTER, admin_up=False), replace(ROUTER, gateway=None)

    def lists(text: str) -> tuple[Chain, ...]:
        if text == ruleset.render(inside).text:
            raise Unavailable("no more")
        return by_hash(text) if "snat" in text else as_the_kernel_lists(text)

    loaded = listing(monkeypatch, lists)
    known = Reference(now=Clock())
    for _ in range(10):
        assert known.of(ROUTER) == known.of(with_floating_ip) == known.of(inside) == {}
        assert known.of(down) == directly(down)
    assert len(loaded) == 2 + 1 + 2
    assert told(log_lines) == 2


def test_who_finds_out_holds_up_those_alone_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = replace(ROUTER, gateway=None)
    has_begun, may_go_on = threading.Event(), threading.Event()

    def lists(text: str) -> tuple[Chain, ...]:
        if text != ruleset.render(inside).text:
            has_begun.set()
            may_go_on.wait()
        return as_the_kernel_lists(text)

    loaded = listing(monkeypatch, lists)
    known = Reference()
    with ThreadPoolExecutor(3) as workers:
        try:
            two = [workers.submit(known.of, ROUTER)]
            assert has_begun.wait(HANGS_S)
            two.append(workers.submit(known.of, OTHER))
            assert workers.submit(known.of, inside).result(HANGS_S) == directly(inside)
        finally:
            may_go_on.set()
        assert [it.result(HANGS_S) for it in two] == [directly(ROUTER), directly(OTHER)], "both are compared whole"
    assert len(loaded) == 2 + 2


def copying(monkeypatch: pytest.MonkeyPatch, *found: Copied | Unavailable | None) -> list[Router]:
    """What comes of each try to copy rules; the stand-ins that were tried."""
    tried, left = list[Router](), list(found)

    def copied(stand_in: Router, _: Router) -> Copied | None:
        tried.append(stand_in)
        outcome = left.pop(0)
        if isinstance(outcome, Unavailable):
            raise outcome
        return outcome

    monkeypatch.setattr(reference, "_copied", copied)
    return tried


def copy_of(stand_in: Router) -> Copied:
    """One rule with the words that are a router's own, and the seal."""
    rules = ruleset.render(stand_in)
    seal = Message(3, 0, f"text_{rules.fingerprint}".encode())
    return Copied(rules.fingerprint, (seal,), (Message(6, 0, b"".join(reference._own_words(stand_in))),))


def test_what_was_copied_of_a_stand_in_makes_the_rules_of_others_with_their_own_floating_ips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in = reference._standing_in(ROUTER, *reference._STAND_INS[0])
    tried = copying(monkeypatch, copy_of(stand_in))
    known = Reference()
    for router, of_maps in ((ROUTER, 0), (OTHER, 2)):
        rules = ruleset.render(router)
        messages = known.copy(router, rules)
        assert messages is not None
        seal, *elements, rule = messages
        assert seal.body.decode() == f"text_{rules.fingerprint}"
        assert rule.body == b"".join(reference._own_words(router))
        assert len(elements) == of_maps
    assert tried == [stand_in], "once"


@pytest.mark.parametrize(
    ("found", "reason"),
    [(None, "does not make the same rules"), (Unavailable("make a namespace without a name: no more"), "no more")],
)
def test_rules_that_cannot_be_copied_are_loaded_as_text_and_that_is_told_once_of_each_kind(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str], found: Unavailable | None, reason: str
) -> None:
    tried = copying(monkeypatch, found, found)
    known = Reference()
    for router in (ROUTER, OTHER, replace(ROUTER, gateway=None)) * 3:
        assert known.copy(router, ruleset.render(router)) is None
    told = [line for line in log_lines if "are loaded as text" in line]
    assert len(tried) == len(told) == 2
    assert all(reason in line for line in told)


def test_what_the_kernel_refused_once_it_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    copying(monkeypatch, copy_of(reference._standing_in(ROUTER, *reference._STAND_INS[0])))
    known = Reference()
    assert known.copy(ROUTER, ruleset.render(ROUTER)) is not None
    for router in (ROUTER, OTHER):
        known.refused(router, Unavailable("load the router's rules: Operation not supported"))
        assert known.copy(router, ruleset.render(router)) is None
    (told,) = [line for line in log_lines if "are loaded as text" in line]
    assert "Operation not supported" in told

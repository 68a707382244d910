"""Success is claimed for what was read back: what the kernel refused or did not keep is told."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from kernel_fixtures import FLOATING_IP, OUTSIDE, ROUTER_ID, Wires, nft, router
from whole_router import WHOLE, sysctl, works

from gapless.agent.kernel import netns, rulecopies, ruleset, sysctls
from gapless.agent.kernel.reference import Reference
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import SETTINGS
from gapless.errors import Unavailable
from gapless.model.observed import Ruleset
from gapless.model.router import Route

pytestmark = pytest.mark.isolated


def test_what_cannot_be_brought_about_is_told(host: Reconciler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody changes the rules as fast as we load them: no success is claimed that was not seen."""
    host.reconcile(WHOLE)
    load = rulecopies.load

    def load_and_lose(*arguments: Any, **options: Any) -> None:
        load(*arguments, **options)
        nft("flush chain ip gapless forward")

    monkeypatch.setattr(rulecopies, "load", load_and_lose)
    nft("flush ruleset")
    with pytest.raises(Unavailable, match="not as it should be after building: LoadRules"):
        host.reconcile(WHOLE)


def test_while_the_kernel_refuses_one_new_rule_the_old_ones_hold(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source NAT in a chain that filters is good nftables text, and no kernel takes it (nft_chain_validate_dependency,
    net/netfilter/nf_tables_api.c). It comes last: all that stands before it was taken by then.
    """
    host.reconcile(WHOLE)
    load, before = ruleset.load, nft("list ruleset")
    without_snat = router((FLOATING_IP, "10.0.0.5"), snat=False)
    refused = f"add rule {ruleset.FAMILY} {ruleset.TABLE} forward snat to 203.0.113.10\n"

    def load_with_it(context: Any, rules: Ruleset, **options: Any) -> None:
        load(context, replace(rules, text=f"{rules.text}\n{refused}"), **options)

    monkeypatch.setattr(Reference, "copy", lambda *_: None)
    monkeypatch.setattr(ruleset, "load", load_with_it)
    with pytest.raises(Unavailable, match=r"load the router's rules: .*Operation not supported"):
        host.reconcile(without_snat)
    assert nft("list ruleset") == before
    assert works(wires)
    monkeypatch.undo()
    assert host.reconcile(without_snat).changed
    assert wires.ping("vm2", OUTSIDE).returncode != 0, "the new rules hold, once they are taken"


def test_a_setting_that_the_kernel_did_not_take_is_told(host: Reconciler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Success is claimed for what was read back, not for what was written."""
    host.reconcile(WHOLE)
    sysctl("ipv4.ip_forward", "0")
    monkeypatch.setattr(sysctls, "write", lambda settings: None)
    with pytest.raises(Unavailable, match="not as it should be after building: ChangeSettings"):
        host.reconcile(WHOLE)
    monkeypatch.undo()
    assert host.reconcile(WHOLE).changed
    assert not host.reconcile(WHOLE).changed


def test_settings_that_come_with_the_rules_are_written_after_them(
    host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that tracks no connection yet, the first router's rules make the kernel load what does."""
    written, suffix = sysctls.written, ".not_there_yet"
    asked: list[Mapping[str, str]] = []

    def before_tracking(settings: Mapping[str, str]) -> dict[str, str]:
        asked.append(settings)
        missing = {key + suffix if key.startswith("netfilter/") else key: it for key, it in settings.items()}
        return {key.removesuffix(suffix): it for key, it in written(missing).items()}

    monkeypatch.setattr("gapless.agent.kernel.sysctls.written", before_tracking)
    host.reconcile(router())
    assert asked
    found = netns.enter(netns.path_of(ROUTER_ID), lambda: sysctls.read(SETTINGS))
    assert found == SETTINGS
    assert not host.reconcile(router()).changed


def test_an_operation_that_the_kernel_refuses_is_told_and_the_next_call_finishes(
    wires: Wires, host: Reconciler
) -> None:
    impossible = Route(destination=IPv4Network("192.168.50.0/24"), next_hop=IPv4Address("10.0.0.255"))
    with pytest.raises(Unavailable, match=r"route to 192\.168\.50\.0/24 by 10\.0\.0\.255 on qr-.*invalid gateway"):
        host.reconcile(replace(WHOLE, routes=(impossible,)))
    host.reconcile(WHOLE)
    assert works(wires)

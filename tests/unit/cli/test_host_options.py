"""What options of `gapless host` say is what the host is run with."""

import pytest
from typer.testing import CliRunner

from gapless.cli import host
from gapless.config import HostSettings
from gapless.errors import InvalidRequest
from gapless.model.flow import FlowPolicy, FlowProtocol
from gapless.model.host import InstanceId

TCP, UDP, SCTP = FlowProtocol
NEEDED = ("--name", "net1", "--state-dir", "state", "--key-file", "key", "--server", "10.0.0.1")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[HostSettings]:
    """Settings of hosts that would run now."""
    ran: list[HostSettings] = []
    monkeypatch.setattr(host, "run", lambda settings, _: ran.append(settings))
    return ran


@pytest.mark.parametrize(
    ("options", "environment", "policy"),
    [
        ("", {}, FlowPolicy(protocols=(TCP, UDP, SCTP), udp_age_s=2.0)),
        ("--flows-protocol tcp", {}, FlowPolicy(protocols=(TCP,))),
        ("--flows-protocol SCTP --flows-protocol tcp --flows-protocol tcp", {}, FlowPolicy(protocols=(TCP, SCTP))),
        ("--flows-udp-age 30", {}, FlowPolicy(udp_age_s=30.0)),
        ("", {"GAPLESS_FLOWS_PROTOCOLS": "udp tcp"}, FlowPolicy(protocols=(TCP, UDP))),
        ("", {"GAPLESS_FLOWS_PROTOCOLS": "", "GAPLESS_FLOWS_UDP_AGE": "7.5"}, FlowPolicy(udp_age_s=7.5)),
    ],
)
def test_which_connections_are_copied(
    ran: list[HostSettings], options: str, environment: dict[str, str], policy: FlowPolicy
) -> None:
    done = CliRunner().invoke(host.app, [*NEEDED, *options.split()], env=environment)
    assert done.exit_code == 0, done.output
    assert [each.flows_policy for each in ran] == [policy]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--flows-protocol icmp", "--flows-protocol 'icmp': name tcp, udp or sctp"),
        ("--flows-protocol tcp,udp", "each by an option of its own"),
        ("--flows-udp-age 1", "--flows-udp-age 1: UDP flows can be copied from 2 seconds on"),
        ("--flows-udp-age nan", "--flows-protocol tcp --flows-protocol sctp copies none"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_what_helps(
    ran: list[HostSettings], options: str, complaint: str
) -> None:
    done = CliRunner().invoke(host.app, [*NEEDED, *options.split()])
    assert isinstance(done.exception, InvalidRequest)
    assert complaint in str(done.exception)
    assert not ran


@pytest.mark.parametrize(
    ("options", "environment", "may"),
    [
        ("", {}, True),
        ("--no-raise-conntrack-max", {}, False),
        ("", {"GAPLESS_RAISE_CONNTRACK_MAX": "false"}, False),
    ],
)
def test_whether_the_machines_table_of_connections_may_be_made_larger(
    ran: list[HostSettings], options: str, environment: dict[str, str], may: bool
) -> None:
    done = CliRunner().invoke(host.app, [*NEEDED, *options.split()], env=environment)
    assert done.exit_code == 0, done.output
    assert [each.raise_conntrack_max for each in ran] == [may]


@pytest.mark.parametrize(
    ("options", "copies"),
    [("--data-interface lo", True), ("--data-interface lo --no-sync-flows", False), ("", False)],
)
def test_a_host_says_whether_connections_are_copied_from_and_to_it(
    ran: list[HostSettings], options: str, copies: bool
) -> None:
    """They go over the data network."""
    done = CliRunner().invoke(host.app, [*NEEDED, *options.split()])
    assert done.exit_code == 0, done.output
    (settings,) = ran
    assert host._facts(settings, InstanceId("instance"), None).copies_flows is copies

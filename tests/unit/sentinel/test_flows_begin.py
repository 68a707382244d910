"""What a flows process is told at its start of this host's settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from gapless.config import HostSettings
from gapless.model.host import HostFacts, HostName, InstanceId
from gapless.sentinel.driver import _flows_begin

SETTINGS = HostSettings(name="net1", state_dir=Path("/s"), key_file=Path("/k"))
FACTS = HostFacts(name=HostName("net1"), instance=InstanceId("one"), data_address="192.0.2.1")


@pytest.mark.parametrize("raises", [True, False])
def test_it_is_told_whether_the_table_of_connections_may_be_made_larger(raises: bool) -> None:
    begin = _flows_begin(replace(SETTINGS, raise_conntrack_max=raises), FACTS, b"\0")
    assert (begin.raises_most, begin.most, begin.address) == (raises, SETTINGS.flows_most, "192.0.2.1")

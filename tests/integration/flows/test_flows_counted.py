"""A kernel's count of one namespace says whether there is anything to list in it, whatever is tracked in others."""

import pytest
from flow_fixtures import Pair
from flow_messages import udp_entry

from gapless.flows.entries import entry_of, flow_of
from gapless.flows.table import BATCH, Table
from gapless.kernel.netns import DIRECTORY

pytestmark = pytest.mark.isolated


def test_what_is_made_in_a_namespace_is_counted_there_and_nowhere_else(pair: Pair) -> None:
    pair.connected()
    made = udp_entry(5000)
    with Table(DIRECTORY / "a") as active, Table(DIRECTORY / "b") as standby:
        assert (active._is_empty(), standby._is_empty()) == (False, True)
        assert list(standby.assured()) == []
        assert standby.make([made]) == []
        assert not standby._is_empty()
        assert [flow_of(message) for step in standby.assured() for message in step] == [made.flow]
        standby.remove([made.flow])
        assert [message for step in standby.assured() for message in step] == []


def test_a_kernel_says_all_of_the_flows_that_it_is_asked_for_and_nothing_of_others(pair: Pair) -> None:
    """More than one batch, each of which fits what a socket holds."""
    made = [udp_entry(port) for port in range(5000, 5000 + 3 * BATCH, 2)]
    with Table(DIRECTORY / "b") as table:
        assert table.make(made) == []
        asked = [udp_entry(port).flow for port in range(5000, 5000 + 3 * BATCH)]
        said = table.some(asked)
        assert [flow_of(message) for message in said] == [entry.flow for entry in made]
        assert all(entry_of(message) for message in said)
        assert table.some(asked[1:2]) == []
        table.remove(asked)

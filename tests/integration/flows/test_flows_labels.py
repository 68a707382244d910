"""Connections that rules of the source's namespace have labelled, where those of the follower's label none, or do."""

import pytest
from flow_fixtures import CLIENT, Pair, sh
from flow_messages import labelled_entry

from gapless.flows.entries import Entry, entry_of
from gapless.flows.table import Table
from gapless.kernel.netns import DIRECTORY

pytestmark = pytest.mark.isolated

LABELS, OTHERS = bytes((0b101, *bytes(15))), bytes((0b110, *bytes(15)))
LABELLING = "table ip tenants { chain labelling { type filter hook forward priority 10; ct label set 1; }; }"


def held(table: Table) -> list[Entry]:
    """What the kernel has."""
    return [entry for listed in table.all() for message in listed if (entry := entry_of(message)) is not None]


def test_labels_that_a_kernel_has_no_room_for_are_left_out(pair: Pair) -> None:
    """It makes the entry without, and refuses to renew it with them."""
    entry = labelled_entry(1000, LABELS)
    with Table(DIRECTORY / "b") as table:
        assert table.make([entry]) == []
        missing = labelled_entry(1001, LABELS)
        assert [refusal.entry for refusal in table.renew([entry, missing])] == [missing]
        (found,) = held(table)
        assert (found.flow, found.labels) == (entry.flow, b"")


def test_what_is_told_again_of_a_flow_that_is_not_translated_is_taken_without_its_labels(pair: Pair) -> None:
    """The kernel does not say that it is there, but brings it up to date."""
    entry = labelled_entry(1000, LABELS, answers_to=CLIENT)
    with Table(DIRECTORY / "b") as table:
        assert [table.make([entry]) for _ in range(2)] == [[], []]
        (found,) = held(table)
        assert (found.flow, found.nat, found.labels) == (entry.flow, b"", b"")


def test_labels_are_copied_where_rules_use_them(pair: Pair) -> None:
    sh("nft -f -", inside="b", given=LABELLING)
    with Table(DIRECTORY / "b") as table:
        for labels in (LABELS, OTHERS):
            entry = labelled_entry(1000, labels)
            assert table.make([entry]) == []
            assert table.renew([entry]) == []
            (found,) = held(table)
            assert found.labels == entry.labels

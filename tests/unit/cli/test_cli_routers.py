"""How tables show routers, and how narrow they may be."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from gapless.cli import drain, failovers, routers, status

IDS = [f"{n:08x}-ab59-42d6-a4a5-5bd4b3b1b1a1" for n in range(4)]
LONG = "a-router-of-the-second-tenant-in-the-first-zone"
STEP = "2026-01-31T12:00:00Z"


@pytest.fixture(params=[80, 120])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A terminal that is so wide."""
    console = Console(highlight=False, width=request.param, file=io.StringIO())
    for module in (failovers, routers, status):
        monkeypatch.setattr(module, "console", console)
    return console


def printed(console: Console, table: Table) -> list[str]:
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def words(lines: list[str]) -> set[str]:
    return set(" ".join(lines).split())


@pytest.mark.parametrize(
    ("ids", "short"),
    [
        ([], []),
        (IDS[:1], ["00000000"]),
        (IDS[:1] * 2, ["00000000"] * 2),
        (IDS, [id_[:8] for id_ in IDS]),
        (
            ["abcdef01-1a", "abcdef01-1b", "abcdef01-2c", "abcdef02"],
            ["abcdef01-1a", "abcdef01-1b", "abcdef01-2", "abcdef02"],
        ),
    ],
)
def test_as_many_digits_are_shown_as_tell_a_router_from_the_others(ids: list[str], short: list[str]) -> None:
    known = routers.short_ids(ids)
    assert [known[id_] for id_ in ids] == short


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("", "00000000"),
        ("edge", "edge (00000000)"),
        ("[/red]\x1b", "[/red]? (00000000)"),
        ("\u202edesrever\u2066\u200f", "?desrever?? (00000000)"),
        (" \u2028", " ? (00000000)"),
    ],
)
def test_a_name_is_shown_as_it_is_but_for_what_cannot_be_printed(name: str, cell: str) -> None:
    assert routers.shown(name, "00000000").plain == cell


def test_nothing_of_a_move_is_cut(lines: Console) -> None:
    moves = [
        {
            "router_id": id_,
            "router_name": name,
            "epoch": epoch,
            "kind": "reschedule",
            "from_host": "host-1",
            "to_host": "host-2",
        }
        | {"outcome": "superseded", "total_ms": 150_060.0, "timeline": [{"step": "decided", "at": STEP}]}
        for epoch, (id_, name) in enumerate(zip(IDS, ("edge", LONG, "", "red"), strict=True))
    ]
    found = printed(lines, failovers._moves(moves))
    assert max(map(len, found)) <= lines.width
    whole = {"reschedule", "host-1", "host-2", "superseded", "150.06", "edge", "(00000000)", "00000002"}
    assert whole <= words(found)


def test_a_takeover_is_shown_from_the_first_beat_that_was_missed(lines: Console) -> None:
    since_ms = {"granted": -50.0, "missed": 0.0, "silent": 155.4, "decided": 155.6, "opened": 1159.0}
    steps = [{"step": step, "at": STEP, "after_ms": None, "since_ms": ms} for step, ms in since_ms.items()]
    found = printed(lines, failovers._timeline(steps))
    assert max(map(len, found)) <= lines.width
    assert {"since", "missed"} <= words(found[:3])
    rows = [[cell.strip() for cell in line.split("│")] for line in found if "│" in line]
    shown = {row[4]: row[3] for row in rows if row[4]}
    assert shown == {
        "granted": "-50 ms",
        "missed": "+0 ms",
        "silent": "+155 ms",
        "decided": "+156 ms",
        "opened": "+1.16 s",
    }
    assert {"since", "first"} <= words(printed(lines, failovers._timeline(steps[2:]))[:3])


def test_nothing_of_a_routers_place_is_cut(lines: Console) -> None:
    shown = [
        {"router_id": id_, "name": name, "host": "host-1", "epoch": 12, "state": "active", "health": "degraded"}
        | {
            "ailment": "no memory",
            "damped_s": 660.0,
            "reason": "it has the fewest routers",
            "standbys": [{"host": "host-2", "state": "building"}],
        }
        for id_, name in zip(IDS, ("edge", LONG, "", "red"), strict=True)
    ]
    found = printed(lines, status._routers(shown))
    assert max(map(len, found)) <= lines.width
    assert {"host-1", "host-2", "active,", "degraded", "building", "edge", "(00000000)", "fewest", "routers"} <= words(
        found
    )
    assert {"(for", "11", "min", "now)"} <= words(found)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"state": "ready", "copied": True}, "host-2 ready, copied"),
        ({"state": "ready", "copied": False}, "host-2 ready, not copied"),
        ({"state": "ready", "copied": None}, "host-2 ready, copies unknown"),
        ({"state": "ready"}, "host-2 ready, copies unknown"),
        ({"state": "building", "copied": False}, "host-2 building"),
    ],
)
def test_of_a_standby_that_is_ready_it_is_shown_whether_it_has_all_connections(
    said: dict[str, object], shown: str
) -> None:
    assert status._standby({"host": "host-2"} | said).plain == shown


def test_routers_whose_standbys_have_not_all_connections_are_counted_before_a_drain(
    lines: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        {"router_id": id_, "kind": "switchover", "host": "host-2", "reason": "", "copied": copied}
        for id_, copied in zip(IDS, (True, False, None, False), strict=True)
    ]
    monkeypatch.setattr(drain, "console", lines)
    monkeypatch.setattr(drain, "get", lambda *_: {"prospects": found})
    monkeypatch.setattr(drain, "present", lambda _: {})
    with lines.capture() as capture:
        drain._show_prospects("", "host-1", json=False)
    said = "would go to a standby that has not all connections now: they are waited for, 30 s at most, and then some"
    assert f"2 routers {said} may break" in capture.get()


def test_a_standby_whose_table_is_smaller_than_its_active_hosts_is_named_once() -> None:
    most = {"host-1": 262_144, "host-2": 65_536, "host-3": 262_144, "host-4": None, "host-5": 524_288}
    hosts = [{"name": name, "tracked_most": limit} for name, limit in most.items()]
    placed = [
        {"host": host, "standbys": [{"host": name} for name in standbys]}
        for host, *standbys in (
            ("host-1", "host-2", "host-3"),
            ("host-1", "host-2", "host-4"),
            ("host-4", "host-2"),
            ("host-1", "host-5"),
            (None,),
        )
    ]
    (said,) = status.smaller_tables(hosts, placed)
    assert said == (
        "host-2 tracks 65,536 connections of a router at most, and host-1, whose routers it is to take over, 262,144: "
        "raise net.netfilter.nf_conntrack_max on host-2"
    )


def test_a_name_comes_before_an_id_that_begins_so(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"routers": [{"router_id": IDS[0], "name": "edge"}, {"router_id": IDS[1], "name": IDS[0][:8]}]}
    monkeypatch.setattr(routers, "get", lambda *_: known)
    assert routers.meant("http://here", IDS[0][:8]) == IDS[1]
    assert routers.meant("http://here", IDS[0][:9]) == IDS[0]

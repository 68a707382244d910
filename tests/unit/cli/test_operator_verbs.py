"""The verbs of operators, such as `gapless status`, against a controller that runs, and against none."""

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from verb_rig import Run

from gapless.cli import talk
from gapless.config import Address, Liveness, ServerSettings
from gapless.controller import key, server
from gapless.controller.server import Listening
from gapless.controller.store import bindingrows, hostrows, moverows
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import MoveRow, RouterRow
from gapless.core.effects import Bind
from gapless.errors import Unavailable
from gapless.model.host import HostFacts, HostName, Incarnation, InstanceId
from gapless.model.plan import Epoch, MoveKind, MoveStep
from gapless.model.router import RouterId

ROUTER = RouterId(str(uuid4()))
SHORT = f"edge ({ROUTER[:8]})"
TWINS = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
GONE = RouterId("11111111-0000-4000-8000-000000000000")
NOBODY = str(uuid4())
AT = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
HASTY = Liveness(report_interval_s=0.1, agent_down_time_s=0.4)
REASON = (
    f"Rescheduling router {ROUTER} from agent 1 because the agent did not report to the server in the last 150 seconds."
)


async def fill(state: Path) -> None:
    """One router that moved from h1, which died, to h2; one of which only its move is left; two that have one name."""
    key.load_or_create(state / "cluster.key")
    store = await Store.open(f"sqlite:///{state}/gapless.db")
    async with store.transaction() as session:
        for name in ("h1", "h2"):
            facts = HostFacts(name=HostName(name), instance=InstanceId(str(uuid4())))
            await hostrows.save_host(session, facts, Incarnation(1), AT)
            known = hostrows.NameRecord(
                instance=facts.instance, started=Incarnation(1), highest=Incarnation(1), outlived=Incarnation(0)
            )
            await hostrows.save_names(session, {facts.name: known})
        session.add(RouterRow(id=ROUTER, name="edge"))
        session.add_all(
            RouterRow(id=twin, name="twin [/] of\na long name that no table has room for") for twin in TWINS
        )
        told = {"kind": "schedule", "cause": "e-0", "reason": "[/]"}
        session.add(MoveRow(router_id=GONE, epoch=1, router_name="gone", to_host="h1", decided_at=AT, **told))
    for epoch, (before, after) in enumerate([(None, "h1"), ("h1", "h2")], start=1):
        move = Bind(
            router_id=ROUTER,
            host=HostName(after),
            epoch=Epoch(epoch),
            previous_host=HostName(before) if before else None,
            leaving_host=None,
            kind=MoveKind.RESCHEDULE if before else MoveKind.SCHEDULE,
            silent_s=150.0 if before else None,
            choice=f"{after} has the fewest routers",
            reason=REASON if before else "it has no host",
            cause=f"e-{epoch}",
        )
        decided = AT + timedelta(hours=epoch)
        async with store.transaction() as session:
            await bindingrows.bind(session, [(move, decided)], decided + timedelta(milliseconds=4))
        async with store.transaction() as session:
            for step, after_ms in ((MoveStep.SENT, 6), (MoveStep.BUILT, 40), (MoveStep.CONFIRMED, 55)):
                at = decided + timedelta(milliseconds=after_ms)
                taken = moverows.StepTaken(router_id=ROUTER, epoch=Epoch(epoch), step=step, at=at)
                await moverows.record_steps(session, [taken])
    await store.close()


@pytest.fixture(params=[Liveness()])
async def controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[None]:
    """A controller with that story, named by GAPLESS_API."""
    await fill(tmp_path)
    anywhere = Address(host="127.0.0.1", port=0)
    stop = asyncio.Event()
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    settings = ServerSettings(
        state_dir=tmp_path, api=anywhere, link=anywhere, keep_moves_days=0, liveness=request.param
    )
    task = asyncio.create_task(server.run(settings, stop, ready.set_result))
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    monkeypatch.setenv("GAPLESS_API", f"http://{(await ready).api}")
    with structlog.testing.capture_logs():  # the controller's, which runs in this process; not ours to look at
        yield
    stop.set()
    await task


@pytest.mark.usefixtures("controller")
class TestWithController:
    """Each verb, as a table and for scripts."""

    async def test_status_shows_where_everything_is_and_why(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "status")

        assert said.status == 0
        (line,) = [line for line in said.out.splitlines() if SHORT in line]
        assert "h2" in line
        assert (
            len([line for line in said.out.splitlines() if "not heard since the controller's start, which" in line])
            == 2
        )

    async def test_status_for_scripts(self, run: Run) -> None:
        shown = json.loads((await asyncio.to_thread(run, "status", "--json")).out)

        assert [host["name"] for host in shown["hosts"]] == ["h1", "h2"]
        assert [(each["name"], each["host"]) for each in shown["routers"] if each["router_id"] == ROUTER] == [
            ("edge", "h2")
        ]
        assert shown["brake"]["engaged"] is False

    @pytest.mark.parametrize("arguments", [(), ("list",), ("--router", ROUTER), ("list", "--host", "h1")])
    async def test_failovers_lists_moves_the_newest_last(self, run: Run, arguments: tuple[str, ...]) -> None:
        said = await asyncio.to_thread(run, "failovers", *arguments)

        first, second = [line for line in said.out.splitlines() if SHORT in line]
        assert "schedule" in first
        assert "reschedule" in second
        assert "150.06 s" in second

    async def test_failovers_show_tells_the_story_in_time_order(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "failovers", "show", ROUTER)

        assert REASON in said.out
        steps = ["last_heard", "decided", "bound", "sent", "built", "confirmed"]
        places = [said.out.index(f" {step} ") for step in steps]
        assert places == sorted(places)
        rows = [[cell.strip() for cell in line.split("│")] for line in said.out.splitlines() if "│" in line]
        assert [(row[4], row[2], row[3]) for row in rows] == [
            ("last_heard", "", "+0 ms"),
            ("decided", "+150.00 s", "+150.00 s"),
            ("bound", "+4 ms", "+150.00 s"),
            ("sent", "+2 ms", "+150.01 s"),
            ("built", "+34 ms", "+150.04 s"),
            ("confirmed", "+15 ms", "+150.06 s"),
        ]
        assert "confirmed after 150.06 s; event e-2 in the controller's log" in said.out

    async def test_failovers_show_of_one_epoch_for_scripts(self, run: Run) -> None:
        shown = json.loads((await asyncio.to_thread(run, "failovers", "show", ROUTER, "1", "--json")).out)

        assert (shown["epoch"], shown["kind"], shown["to_host"]) == (1, "schedule", "h1")

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (
                ("show", ROUTER, "7"),
                f"there is no move of router {ROUTER} to epoch 7: `gapless failovers --router {ROUTER}` lists its "
                "moves",
            ),
            (
                ("show", NOBODY),
                f"no move of router {NOBODY} is recorded: `gapless failovers` lists those that are",
            ),
            *(
                (
                    arguments,
                    "no router is called 'foo', and no router's id begins so: `gapless status` lists those that there "
                    "are, `gapless failovers` those that moved",
                )
                for arguments in (("show", "foo"), ("show", "foo", "7"), ("list", "--router", "foo"))
            ),
        ],
    )
    async def test_a_move_that_never_was_is_one_line_that_says_what_to_give(
        self, run: Run, arguments: tuple[str, ...], line: str
    ) -> None:
        said = await asyncio.to_thread(run, "failovers", *arguments)

        assert (said.status, said.err) == (1, f"gapless failovers: {line}\n")

    @pytest.mark.parametrize("named", [ROUTER, ROUTER.upper(), ROUTER[:8], ROUTER[:15].upper(), "edge"])
    async def test_a_router_is_named_by_its_name_its_id_or_how_that_begins(self, run: Run, named: str) -> None:
        shown = json.loads((await asyncio.to_thread(run, "failovers", "show", named, "--json")).out)
        assert (shown["router_id"], shown["epoch"]) == (ROUTER, 2)
        shown = json.loads((await asyncio.to_thread(run, "failovers", "--router", named, "--json")).out)
        assert [(each["router_id"], each["epoch"]) for each in shown] == [(ROUTER, 2), (ROUTER, 1)]

    @pytest.mark.parametrize("named", [GONE, GONE[:8], "gone"])
    async def test_a_router_that_is_gone_is_known_by_its_moves(self, run: Run, named: str) -> None:
        said = await asyncio.to_thread(run, "failovers", "show", named)
        assert (said.status, said.out.splitlines()[0]) == (0, f"Router {GONE} gone, epoch 1")
        assert "schedule from - to h1: [/]" in said.out

    @pytest.mark.parametrize("named", ["0", TWINS[0][:-1], "twin [/] of\na long name that no table has room for"])
    async def test_what_may_mean_several_routers_is_refused_with_all_of_them(self, run: Run, named: str) -> None:
        said = await asyncio.to_thread(run, "failovers", "show", named)
        assert said.status == 1
        assert "may mean several routers: " in said.err
        assert all(twin in said.err for twin in TWINS)
        assert said.err.count("\n") == 1

    async def test_nothing_names_no_router(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "failovers", "show", "")
        assert (said.status, said.err[:41]) == (1, "gapless failovers: no router is called ''")

    async def test_a_name_breaks_no_table_and_digits_tell_twins_apart(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "status")
        for twin in TWINS:
            (line,) = [line for line in said.out.splitlines() if f"({twin})" in line]
            assert "twin [/] of?a long name that no … (" in line

    async def test_the_brake_is_shown_and_released(self, run: Run) -> None:
        for arguments in ((), ("show",)):
            assert (await asyncio.to_thread(run, "brake", *arguments)).out.strip().startswith("off")
        assert json.loads((await asyncio.to_thread(run, "brake", "release", "--json")).out)["brake"]["engaged"] is False

    async def test_a_host_that_may_come_back_is_not_confirmed_off(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "confirm-off", "h1", "h2", "--yes")
        assert said.status == 1
        assert "h1: the controller has listened for less than 75 s, and h1 may be about to come back; h2: " in said.err

    async def test_a_name_that_no_host_had_cannot_be(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "confirm-off", "h9", "--dry-run")
        assert (said.status, said.err) == (
            1,
            "gapless confirm-off: no host h9 ever connected: `gapless status` lists those that there are\n",
        )

    async def test_a_drain_is_looked_at_before_it_begins(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "drain", "h2", "--dry-run")
        assert said.status == 0
        assert "1 router of h2; nothing was done" in said.out
        assert "h2 was not heard since the controller's start" in said.out
        assert SHORT in said.out
        shown = json.loads((await asyncio.to_thread(run, "drain", "h2", "--dry-run", "--json")).out)["prospects"]
        assert [(each["router_id"], each["kind"]) for each in shown] == [(ROUTER, "stuck")]

    async def test_a_drain_says_what_is_left_when_its_time_is_over(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "drain", "h2", "--at-once", "2", "--timeout", "0")
        assert said.status == 1
        assert "The drain goes on by itself: `gapless drain h2` looks on again" in said.err
        async with asyncio.timeout(30):
            while "1 router to go" not in said.out:  # The planner hears of it a moment after the store.
                said = await asyncio.to_thread(run, "drain", "h2", "--timeout", "0")

    async def test_a_host_without_routers_is_drained_at_once_and_put_back(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "drain", "h1")
        assert (said.status, said.out.splitlines()[-1]) == (
            0,
            "h1 is drained: nothing is left there, and it can be switched off",
        )
        shown = json.loads((await asyncio.to_thread(run, "drain", "h1", "--no-wait", "--json")).out)["drain"]
        assert (shown["admin_state_up"], shown["routers"]) == (False, 0)
        said = await asyncio.to_thread(run, "undrain", "h1")
        assert (said.status, said.out.strip()) == (0, "h1 is back in service, with 0 routers.")

    @pytest.mark.parametrize("verb", [("drain",), ("drain", "--dry-run"), ("undrain",)])
    async def test_a_host_that_is_not_there_cannot_be_drained(self, run: Run, verb: tuple[str, ...]) -> None:
        said = await asyncio.to_thread(run, verb[0], "h9", *verb[1:])
        assert said.status == 1
        assert "there is no host h9: `gapless status` lists those that there are" in said.err

    @pytest.mark.parametrize("verb", ["drain", "undrain"])
    @pytest.mark.parametrize("host", ["", "..", "../h1", "h1/", " "])
    async def test_what_is_no_name_of_a_host_leads_nowhere_else(self, run: Run, verb: str, host: str) -> None:
        said = await asyncio.to_thread(run, verb, host)
        assert (said.status, said.err) == (
            1,
            f"gapless {verb}: there is no host '{host}': `gapless status` lists those that there are\n",
        )

    async def test_an_endpoint_as_openstack_has_it_will_do(self, run: Run) -> None:
        endpoint = f"{os.environ['GAPLESS_API']}/v2.0/"
        assert (await asyncio.to_thread(run, "brake", "--api", endpoint)).out == "off\n"

    async def test_what_this_controller_does_not_know_is_no_riddle(self) -> None:
        api = os.environ["GAPLESS_API"]
        with pytest.raises(Unavailable, match=f"what answers at {api} does not know /v2.0/gapless/x: is it Neutron"):
            await asyncio.to_thread(talk.get, api, "x")

    async def test_moves_that_there_are_not_are_no_empty_table(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "failovers", "--host", "h9")
        assert (said.status, said.out) == (0, "No such move is recorded.\n")
        assert (await asyncio.to_thread(run, "failovers", "--host", "h9", "--json")).out == "[]\n"

    async def test_hosts_are_put_back_for_scripts(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "undrain", "h1", "--json")
        shown = json.loads(said.out)["drain"]
        assert (said.status, shown["host"], shown["routers"]) == (0, "h1", 0)

    async def test_what_is_even_is_left_alone(self, run: Run) -> None:
        for arguments in ((), ("--dry-run",)):
            said = await asyncio.to_thread(run, "rebalance", *arguments)
            assert (said.status, said.out.strip()) == (0, "Nothing to move: hosts are as even as they can be.")

    async def test_arbiters_are_shown_though_there_are_none(self, run: Run) -> None:
        said = await asyncio.to_thread(run, "arbiters")
        assert said.status == 0
        assert "no arbiters yet" in said.out
        shown = json.loads((await asyncio.to_thread(run, "arbiters", "--json")).out)["arbiters"]
        assert (shown["lost"], shown["arbiters"]) == (False, [])


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("controller", [HASTY], indirect=True)
async def test_hosts_are_confirmed_off_once_somebody_has_said_yes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(30):
        while (said := await asyncio.to_thread(run, "confirm-off", "h2", "--dry-run")).status:
            pass  # The controller has to have listened for a while.
    assert said.out.strip() == "It would be taken for h2. Nothing was done."

    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    said = await asyncio.to_thread(run, "confirm-off", "h2")
    assert said.status == 1
    assert "You vouch for each of these machines: h2" in said.out
    assert await standing(run, "h2") != "confirmed"

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    said = await asyncio.to_thread(run, "confirm-off", "h2")
    assert (said.status, said.out.splitlines()[-1][:-1]) == (
        0,
        "Are they off? [y/N]: Confirmed off: h2. Watch: gapless arbiters, gapless statu",
    )
    assert await standing(run, "h2") == "confirmed"
    assert (await asyncio.to_thread(run, "confirm-off", "h2", "--yes")).status == 0, "said twice"
    for arguments, dry_run in (("--yes",), False), (("--dry-run",), True):
        said = await asyncio.to_thread(run, "confirm-off", "h2", "--json", *arguments)
        assert json.loads(said.out) == {"confirm_off": {"hosts": ["h2"], "dry_run": dry_run}}


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("controller", [HASTY], indirect=True)
async def test_the_brake_is_released_for_the_hosts_that_were_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(30):
        while not (await asyncio.to_thread(run, "brake")).out.startswith("on for h1, h2: "):
            pass  # Both have to be dead first.

    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    said = await asyncio.to_thread(run, "brake", "release")
    assert said.status == 1
    assert said.out.startswith("on for h1, h2: 2 of 2 hosts look dead at once")
    assert (await asyncio.to_thread(run, "brake")).out.startswith("on for h1, h2: ")

    said = await asyncio.to_thread(run, "brake", "release", "--yes", "--json")
    brake = json.loads(said.out)["brake"]
    assert (said.status, brake["engaged"], brake["hosts"]) == (0, False, [])
    assert brake["reason"] == "an operator says that these hosts are dead: h1, h2"


async def standing(run: Run, host: str) -> str:
    """`confirmed`, or what the host is."""
    hosts = json.loads((await asyncio.to_thread(run, "status", "--json")).out)["hosts"]
    (shown,) = [each for each in hosts if each["name"] == host]
    return "confirmed" if "an operator confirmed" in shown["reason"] else str(shown["standing"])

"""The generic handlers: five routes, driven by the attribute map, over a resource that has no meaning."""

from typing import Any

import pytest
from api_fakes import FakeControls, Things
from httpx import AsyncClient, Response

from gapless.controller.api import bodies, validators


async def make(api: AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await api.post("/v2.0/things", json={"thing": {"kind": "a", **values}})
    assert answer.status_code == 201, answer.text
    thing: dict[str, Any] = answer.json()["thing"]
    return thing


def refusal(answer: Response) -> tuple[int, str, str]:
    error = answer.json()["NeutronError"]
    assert error.keys() == {"type", "message", "detail"}
    return answer.status_code, error["type"], error["message"]


async def names(api: AsyncClient, query: str) -> list[str]:
    answer = await api.get(f"/v2.0/things?{query}")
    assert answer.status_code == 200, answer.text
    return [thing["name"] for thing in answer.json()["things"]]


async def test_a_thing_lives_from_post_to_delete(thing_api: AsyncClient, controls: FakeControls) -> None:
    made = await make(thing_api, name="one", secret="s", flying=False)
    assert (made["name"], made["lit"], made["labels"], made["description"]) == ("one", False, [], "")
    assert "secret" not in made, "what can only be written is not shown"
    path = f"/v2.0/things/{made['id']}"

    assert (await thing_api.get(path)).json() == {"thing": made}
    changed = await thing_api.put(path, json={"thing": {"size": "7", "lit": "yes"}})
    assert (changed.status_code, changed.json()["thing"]["size"], changed.json()["thing"]["lit"]) == (200, 7, True)
    assert refusal(await thing_api.delete(path)) == (409, "ThingInUse", f"Thing {made['id']} is lit.")
    await thing_api.put(path, json={"thing": {"lit": False}})
    assert (await thing_api.delete(path)).status_code == 204
    assert refusal(await thing_api.get(path)) == (404, "ThingNotFound", f"Thing {made['id']} could not be found.")
    assert controls.told == [("routers_changed", (made["id"],)), ("router_deleted", made["id"])]


async def test_operations_never_see_a_switch_that_means_nothing(thing_api: AsyncClient, things: Things) -> None:
    made = await make(thing_api, flying="false")
    assert "flying" not in things.kept[made["id"]]


async def test_several_are_made_together_or_not_at_all(thing_api: AsyncClient, controls: FakeControls) -> None:
    body = {"things": [{"kind": "a", "name": "1"}, {"thing": {"kind": "b", "name": "2"}}]}
    answer = await thing_api.post("/v2.0/things", json=body)
    assert answer.status_code == 201
    assert [thing["name"] for thing in answer.json()["things"]] == ["1", "2"]

    controls.told.clear()
    broken = {"things": [{"kind": "a", "name": "3"}, {"kind": "c", "name": "4"}]}
    assert (await thing_api.post("/v2.0/things", json=broken)).status_code == 400
    assert await names(thing_api, "sort_key=name&sort_dir=asc") == ["1", "2"]
    assert not controls.told


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Resource body required"),
        (b"{}", "Resource body required"),
        (b"{", "Body contains invalid data"),
        (b"\xff", "Body contains invalid data"),
        ('{"thing": {"kind": "a", "name": "été"}}'.encode("latin-1"), "Body contains invalid data"),
        (b'{"thing": {"kind": "a", "name": "\\ud800"}}', "Body contains invalid data"),
        (b"[" * 100_000, "Body contains invalid data"),
        (b"[1]", "Body contains invalid data"),
        (b'"thing"', "Body contains invalid data"),
        (b'{"network": {}}', "Unable to find 'thing' in request body"),
        (b'{"thing": null}', "Unable to find 'thing' in request body"),
        (b'{"thing": 5}', "Object 'thing' contains invalid data"),
        (b'{"things": []}', "Resources required"),
        (b'{"things": [5]}', "Body contains invalid data"),
        (b'{"things": {"kind": "a"}}', "Body contains invalid data"),
        (b'{"thing": {}}', "Failed to parse request. Required attribute 'kind' not specified"),
        (b'{"thing": {"kind": "a", "colour": 1, "taste": 2}}', "Unrecognized attribute(s) 'colour, taste'"),
        (b'{"thing": {"kind": "a", "id": "x"}}', "Attribute 'id' not allowed in POST"),
        (b'{"thing": {"kind": "c"}}', "Invalid input for kind. Reason: c is not in ['a', 'b']."),
        (
            b'{"thing": {"kind": "a", "flying": true}}',
            "Invalid input for flying. Reason: a flying thing is not supported.",
        ),
        (
            b'{"thing": {"kind": "a", "tenant_id": "p", "project_id": "q"}}',
            "'project_id' and 'tenant_id' do not match",
        ),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused(thing_api: AsyncClient, body: bytes, message: str) -> None:
    answer = await thing_api.post("/v2.0/things", content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer) == (400, "HTTPBadRequest", message)


async def test_a_body_that_is_nested_beyond_use_is_refused_at_every_depth(thing_api: AsyncClient) -> None:
    for depth in range(20, 1_020, 3):  # somewhere here Python can read it, and not write it into a message any more
        body = b'{"thing": {"kind": %b}}' % (b"[" * depth + b"]" * depth)
        answer = await thing_api.post("/v2.0/things", content=body, headers={"Content-Type": "application/json"})
        assert refusal(answer) == (400, "HTTPBadRequest", "Body contains invalid data")


async def test_the_lists_of_a_bulk_request_have_a_bound_together(thing_api: AsyncClient, things: Things) -> None:
    labels = [f"{number}" for number in range(validators.MOST_ITEMS)]
    count = bodies.MOST_ITEMS_AT_ONCE // len(labels)
    wanted = [{"kind": "a", "labels": labels} for _ in range(count)]
    assert (await thing_api.post("/v2.0/things", json={"things": wanted})).status_code == 201
    answer = await thing_api.post("/v2.0/things", json={"things": [*wanted, {"kind": "a", "labels": ["one"]}]})
    message = "The lists in a bulk request may have 5000 items together, and not 5001: send several requests"
    assert refusal(answer) == (400, "HTTPBadRequest", message)
    assert len(things.kept) == count


async def test_what_is_no_boolean_is_refused_as_neutron_does(thing_api: AsyncClient) -> None:
    answer = await thing_api.post("/v2.0/things", json={"thing": {"kind": "a", "lit": "maybe"}})
    message = "Invalid input for operation: 'maybe' cannot be converted to boolean."
    assert refusal(answer) == (400, "InvalidInput", message)


async def test_read_only_attributes_stay(thing_api: AsyncClient) -> None:
    made = await make(thing_api)
    path = f"/v2.0/things/{made['id']}"
    for key, value in (("kind", "b"), ("id", made["id"]), ("project_id", "p"), ("tenant_id", "p")):
        named = "project_id" if key == "tenant_id" else key
        answer = await thing_api.put(path, json={"thing": {key: value}})
        assert refusal(answer) == (400, "HTTPBadRequest", f"Cannot update read-only attribute {named}")


async def test_tenant_id_is_the_old_name_of_project_id(thing_api: AsyncClient) -> None:
    made = await make(thing_api, tenant_id="p1", name="of p1")
    assert (made["project_id"], made["tenant_id"]) == ("p1", "p1")
    await make(thing_api, project_id="p2", name="of p2")
    assert await names(thing_api, "tenant_id=p1") == ["of p1"]
    assert await names(thing_api, "sort_key=tenant_id&sort_dir=desc") == ["of p2", "of p1"]


@pytest.mark.parametrize("etag", ["revision_number=1", '"revision_number=1"', '"other", "revision_number=1"'])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_revision_constraint_is_refused_rather_than_ignored(
    thing_api: AsyncClient, method: str, etag: str
) -> None:
    made = await make(thing_api)
    path, body = f"/v2.0/things/{made['id']}", {"thing": {"size": 1}} if method == "PUT" else None
    answer = await thing_api.request(method, path, json=body, headers={"If-Match": etag})
    message = "Bad if-match request: This server does not support constraining operations based on revision numbers."
    assert refusal(answer) == (400, "BadRequest", message)
    assert (await thing_api.get(path)).json() == {"thing": made}


async def test_a_lost_race_is_run_again(thing_api: AsyncClient, things: Things, controls: FakeControls) -> None:
    things.races_to_lose = 3
    made = await make(thing_api, name="patient")
    assert controls.told == [("routers_changed", (made["id"],))]


async def test_races_lost_for_ever_end_with_503(thing_api: AsyncClient, things: Things) -> None:
    things.races_to_lose = 1_000
    answer = await thing_api.post("/v2.0/things", json={"thing": {"kind": "a"}})
    assert refusal(answer)[:2] == (503, "ServiceUnavailable")
    assert answer.headers["retry-after"] == "1"


class TestLists:
    @pytest.fixture(autouse=True)
    async def five(self, thing_api: AsyncClient) -> None:
        for name, size, kind, lit in (("a", 3, "a", True), ("b", 1, "b", False), ("c", 2, "a", False)):
            await make(thing_api, name=name, size=size, kind=kind, lit=lit)
        await make(thing_api, name="", size=2, kind="b")
        await make(thing_api, name="e", size=2, kind="b")

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", ["", "a", "b", "c", "e"]),
            ("name=a&name=c", ["a", "c"]),
            ("name=a&kind=b", []),
            ("kind=b&lit=False", ["", "b", "e"]),
            ("lit=true", ["a"]),
            ("size=2", ["", "c", "e"]),
            ("name=", [""]),
            ("kind=z", []),
            ("id=not-a-uuid", []),
        ],
    )
    async def test_filters(self, thing_api: AsyncClient, query: str, found: list[str]) -> None:
        assert sorted(await names(thing_api, query)) == found

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("sort_key=name&sort_dir=asc", ["", "a", "b", "c", "e"]),
            ("sort_key=name&sort_dir=desc", ["e", "c", "b", "a", ""]),
            ("sort_key=size&sort_dir=asc&sort_key=name&sort_dir=desc", ["b", "e", "c", "", "a"]),
            ("sort_key=lit&sort_dir=desc&sort_key=name&sort_dir=asc", ["a", "", "b", "c", "e"]),
        ],
    )
    async def test_order(self, thing_api: AsyncClient, query: str, found: list[str]) -> None:
        assert await names(thing_api, query) == found

    @pytest.mark.parametrize(
        ("query", "type_", "message"),
        [
            ("colour=red", "HTTPBadRequest", "['colour'] is invalid attribute for filtering"),
            ("labels=x", "HTTPBadRequest", "['labels'] is invalid attribute for filtering"),
            ("sort_key=name", "HTTPBadRequest", "The number of sort_keys and sort_dirs must be same"),
            ("sort_key=parts&sort_dir=asc", "HTTPBadRequest", "['parts'] is invalid attribute for sort_keys"),
            (
                "sort_key=name&sort_dir=up",
                "HTTPBadRequest",
                "['up'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'",
            ),
            ("limit=-1", "BadRequest", "Bad limit request: Limit must be an integer 0 or greater and not '-1'."),
            ("lit=maybe", "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean."),
        ],
    )
    async def test_refusals(self, thing_api: AsyncClient, query: str, type_: str, message: str) -> None:
        assert refusal(await thing_api.get(f"/v2.0/things?{query}")) == (400, type_, message)

    async def test_fields(self, thing_api: AsyncClient) -> None:
        answer = await thing_api.get("/v2.0/things?name=a&fields=name&fields=size&fields=unknown")
        assert answer.json() == {"things": [{"name": "a", "size": 3}]}
        one = (await thing_api.get("/v2.0/things?name=a")).json()["things"][0]["id"]
        assert (await thing_api.get(f"/v2.0/things/{one}?fields=name")).json() == {"thing": {"name": "a"}}

    async def test_operations_get_filters_in_the_attributes_type(self, thing_api: AsyncClient, things: Things) -> None:
        await names(thing_api, "lit=true&size=2&kind=a")
        assert things.seen_filters[-1] == {"lit": (True,), "size": (2,), "kind": ("a",)}

    async def test_pages_forwards_and_back_by_their_links(self, thing_api: AsyncClient) -> None:
        seen, backwards = [], []
        answer = (await thing_api.get("/v2.0/things?sort_key=name&sort_dir=desc&limit=2")).json()
        while answer["things"]:
            seen.append([thing["name"] for thing in answer["things"]])
            links = {link["rel"]: link["href"] for link in answer["things_links"]}
            assert links["previous"].startswith("http://controller:9696/v2.0/things?")
            last = answer
            answer = (await thing_api.get(links["next"])).json() if "next" in links else {"things": []}
        assert seen == [["e", "c"], ["b", "a"], [""]]

        answer = last
        while (links := {link["rel"]: link["href"] for link in answer["things_links"]}).get("previous"):
            answer = (await thing_api.get(links["previous"])).json()
            if not answer["things"]:
                break
            backwards.append([thing["name"] for thing in answer["things"]])
        assert backwards == [["b", "a"], ["e", "c"]]

    async def test_pages_without_an_order_do_not_overlap(self, thing_api: AsyncClient) -> None:
        seen: list[str] = []
        while page := (await thing_api.get(f"/v2.0/things?limit=2{f'&marker={seen[-1]}' if seen else ''}")).json()[
            "things"
        ]:
            seen += [thing["id"] for thing in page]
        assert len(seen) == len(set(seen)) == 5

    async def test_an_unknown_marker_is_refused(self, thing_api: AsyncClient) -> None:
        """As in Neutron, for a list that seems to be over would be taken for whole."""
        answer = await thing_api.get("/v2.0/things?limit=2&marker=nobody")
        assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (404, "ThingNotFound")
        assert len((await thing_api.get("/v2.0/things?marker=nobody")).json()["things"]) == 5, "no page, no marker"

    async def test_a_page_begins_after_a_marker_that_the_filter_leaves_out(self, thing_api: AsyncClient) -> None:
        ids = {thing["name"]: thing["id"] for thing in (await thing_api.get("/v2.0/things")).json()["things"]}
        query = f"name=a&name=c&name=e&sort_key=name&sort_dir=asc&limit=5&marker={ids['b']}"
        for reverse, names in ((False, ["c", "e"]), (True, ["a"])):
            page = (await thing_api.get(f"/v2.0/things?{query}&page_reverse={reverse}")).json()["things"]
            assert [thing["name"] for thing in page] == names

    async def test_links_name_the_proxys_scheme(self, thing_api: AsyncClient) -> None:
        answer = await thing_api.get("/v2.0/things?limit=1", headers={"X-Forwarded-Proto": "https"})
        assert answer.json()["things_links"][0]["href"].startswith(
            "https://controller:9696/v2.0/things?limit=1&marker="
        )


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("2026-01-31T12:00:00Z", ["noon", "one"]),
        ("2026-01-31T12:00:00", ["noon", "one"]),
        ("2026-01-31T14:00:00+01:00", ["one"]),
        ("2026-01-31T13:00:01Z", []),
        ("2026-01-31", ["morning", "noon", "one"]),
    ],
)
async def test_what_changed_since_a_time(
    thing_api: AsyncClient, things: Things, since: str, expected: list[str]
) -> None:
    for name, hour in (("morning", 8), ("noon", 12), ("one", 13)):
        made = await make(thing_api, name=name)
        things.kept[made["id"]]["updated_at"] = f"2026-01-31T{hour:02}:00:00Z"
    answer = await thing_api.get(
        "/v2.0/things", params={"changed_since": since, "sort_key": "updated_at", "sort_dir": "asc"}
    )
    assert [thing["name"] for thing in answer.json()["things"]] == expected


@pytest.mark.parametrize("since", ["", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+01:00"])
async def test_a_time_that_is_none_is_refused(thing_api: AsyncClient, since: str) -> None:
    said = "The input changed_since must be in the following format: YYYY-MM-DDTHH:MM:SSZ"
    answer = await thing_api.get("/v2.0/things", params={"changed_since": since})
    assert refusal(answer) == (400, "InvalidInput", f"Invalid input for operation: {said}.")
    assert (await thing_api.post("/v2.0/things", json={"thing": {"kind": "a", "changed_since": since}})).is_error

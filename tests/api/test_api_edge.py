"""What surrounds the resources: discovery, refusals by the router, bugs, hostile bodies, metrics, health."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from api_fakes import FakeControls
from httpx import AsyncClient

from gapless.controller.api import bodies
from gapless.controller.store import health
from gapless.core.ledger.views import RouterStatus
from gapless.model.host import HostName
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["NeutronError"]
    return answer.status_code, error["type"], error["message"]


def damage(directory: Path) -> None:
    """Overwrite the database and its log."""
    for part in directory.glob("gapless.db*"):
        part.write_bytes(b"no database" * 1_000)


class TestDiscovery:
    async def test_the_root_names_the_one_version_by_the_callers_address(self, api: AsyncClient) -> None:
        answer = await api.get("/", headers={"Host": "controller:80", "X-Forwarded-Proto": "https"})
        links = [{"rel": "self", "href": "https://controller:80/v2.0/"}]
        assert answer.json() == {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}

    @pytest.mark.parametrize("path", ["/v2.0", "/v2.0/"])
    async def test_the_version_names_the_core_resources(self, api: AsyncClient, path: str) -> None:
        resources = (await api.get(path)).json()["resources"]
        assert [each["collection"] for each in resources] == ["networks", "subnets", "ports"]
        assert resources[0]["links"] == [{"rel": "self", "href": "http://controller:9696/v2.0/networks"}]

    async def test_extensions(self, api: AsyncClient) -> None:
        listed = (await api.get("/v2.0/extensions")).json()["extensions"]
        aliases = [each["alias"] for each in listed]
        assert aliases == sorted(aliases)
        assert {"router", "external-net", "l3_agent_scheduler", "extraroute-atomic", "gapless"} <= set(aliases)
        assert (await api.get("/v2.0/extensions/router")).json()["extension"] in listed
        answer = await api.get("/v2.0/extensions/quotas")
        assert error_of(answer) == (404, "HTTPNotFound", "Extension with alias quotas does not exist")

    async def test_extensions_take_fields_and_filters(self, api: AsyncClient) -> None:
        answer = await api.get("/v2.0/extensions?alias=router&fields=alias&fields=name")
        assert answer.json() == {"extensions": [{"alias": "router", "name": "Neutron L3 Router"}]}

    @pytest.mark.parametrize("order", ["", "&sort_key=updated&sort_dir=desc"])
    async def test_extensions_come_in_pages(self, api: AsyncClient, order: str) -> None:
        whole = (await api.get(f"/v2.0/extensions?{order}")).json()["extensions"]
        found, path = [], f"/v2.0/extensions?limit=5{order}"
        while path:
            answer = (await api.get(path)).json()
            found += answer["extensions"]
            path = next((link["href"] for link in answer["extensions_links"] if link["rel"] == "next"), "")
        assert [each["alias"] for each in found] == [each["alias"] for each in whole]

        before = (await api.get("/v2.0/extensions?limit=1&marker=router&page_reverse=True&fields=alias")).json()
        assert before["extensions"] == [{"alias": "provider"}]
        answer = await api.get("/v2.0/extensions?limit=1&marker=quotas")
        assert error_of(answer) == (404, "HTTPNotFound", "Extension with alias quotas does not exist")


class TestRefusals:
    @pytest.mark.parametrize("path", ["/v3", "/v2.0/security-groups", "/v2.0/networks/1/2/3", "/%00"])
    async def test_an_unknown_path(self, api: AsyncClient, path: str) -> None:
        answer = await api.get(path)
        assert error_of(answer) == (404, "HTTPNotFound", "The resource could not be found.")
        assert answer.headers["x-openstack-request-id"].startswith("req-")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PATCH", "/v2.0/networks", "GET, POST"),
            ("DELETE", "/v2.0/networks", "GET, POST"),
            ("POST", "/v2.0/networks/1", "DELETE, GET, PUT"),
            ("POST", "/", "GET"),
            ("PUT", "/metrics", "GET"),
        ],
    )
    async def test_a_method_that_is_not_for_this_path(
        self, api: AsyncClient, method: str, path: str, allowed: str
    ) -> None:
        answer = await api.request(method, path)
        message = f"The method {method} is not allowed for this resource."
        assert error_of(answer) == (405, "HTTPMethodNotAllowed", message)
        assert answer.headers["allow"] == allowed

    async def test_a_bug_is_told_to_the_log_and_not_to_the_caller(
        self, thing_api: AsyncClient, controls: FakeControls, capfd: pytest.CaptureFixture[str]
    ) -> None:
        answer = await thing_api.post("/v2.0/things", json={"thing": {"kind": "a", "name": "bug"}})
        assert error_of(answer)[:2] == (500, "HTTPInternalServerError")
        assert "secret" not in answer.text
        logged = "".join(capfd.readouterr())
        assert "the secret of the bug" in logged
        assert answer.headers["x-openstack-request-id"] in logged
        assert not controls.told
        assert (await thing_api.post("/v2.0/things", json={"thing": {"kind": "a"}})).status_code == 201

    async def test_a_body_without_end_is_cut_off(self, thing_api: AsyncClient) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 65_536

        answer = await thing_api.post("/v2.0/things", content=endless())
        assert error_of(answer)[:2] == (413, "HTTPRequestEntityTooLarge")


class TestSlowCallers:
    async def test_a_caller_that_never_ends_its_body_is_let_go(
        self, served: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "READ_TIMEOUT_S", 0.05)
        reader, writer = await _begin_post(served)
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 30)
        writer.close()
        await writer.wait_closed()

    async def test_others_are_answered_while_one_sends_slowly(self, served: str) -> None:
        reader, writer = await _begin_post(served)
        async with AsyncClient(base_url=served) as other:
            made = await other.post("/v2.0/networks", json={"network": {"name": "quick"}})
            assert made.status_code == 201
        writer.write(b' "slow"}}')
        assert b" 201 " in await asyncio.wait_for(reader.readline(), 30)
        writer.close()
        await writer.wait_closed()

    async def test_a_caller_that_goes_away_leaves_nothing(self, served: str) -> None:
        _, writer = await _begin_post(served)
        writer.transport.abort()
        async with AsyncClient(base_url=served) as other:
            assert (await other.get("/v2.0/networks")).json() == {"networks": []}

    async def test_one_connection_carries_many_requests(self, served: str) -> None:
        address = urlsplit(served)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for _ in range(3):
            writer.write(b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert b" 200 " in head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length)) == {"status": "ok"}
        writer.close()
        await writer.wait_closed()


async def _begin_post(served: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body stops in the middle."""
    address = urlsplit(served)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = b'{"network": {"name": "slow"}}'
    headers = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: %d" % len(body)
    writer.write(b"POST /v2.0/networks HTTP/1.1\r\n" + headers + b"\r\n\r\n" + body[:20])
    await writer.drain()
    return reader, writer


class TestObservation:
    async def test_methods_that_callers_make_up_are_one_label(self, api: AsyncClient) -> None:
        for method in ("BREW", "WHEN"):
            assert (await api.request(method, "/v2.0/networks")).status_code == 405
        page = (await api.get("/metrics")).text
        assert 'gapless_api_request_seconds_count{method="other",route="/v2.0/networks",status="405"} 2.0' in page
        assert "BREW" not in page

    async def test_metrics_count_requests_by_route(self, api: AsyncClient) -> None:
        await api.get("/v2.0/networks/one")
        await api.get("/v2.0/networks/two")
        await api.get("/nowhere")
        page = await api.get("/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        counted = 'gapless_api_request_seconds_count{method="GET",route="%s",status="404"} %s'
        assert counted % ("/v2.0/networks/{id_}", "2.0") in page.text
        assert counted % ("none", "1.0") in page.text

    async def test_health_is_the_stores(
        self, api: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "STANDS_S", 0.0)
        assert (await api.get("/healthcheck")).json() == {"status": "ok"}
        damage(tmp_path)
        answer = await api.get("/healthcheck")
        assert answer.status_code == 503
        assert answer.json()["status"] == "unavailable"
        assert str(tmp_path) in answer.json()["reason"]


async def test_a_store_that_fails_is_503_and_the_controller_hears_of_nothing(
    api: AsyncClient, controls: FakeControls, tmp_path: Path
) -> None:
    assert (await api.post("/v2.0/routers", json={"router": {"name": "before"}})).status_code == 201
    controls.told.clear()
    damage(tmp_path)
    answer = await api.post("/v2.0/routers", json={"router": {"name": "after"}})
    assert error_of(answer)[:2] == (503, "ServiceUnavailable")
    assert "retry-after" in answer.headers
    assert not controls.told


async def test_where_routers_are_is_told_also_while_the_store_is_gone(
    api: AsyncClient, controls: FakeControls, tmp_path: Path
) -> None:
    router = RouterId((await api.post("/v2.0/routers", json={"router": {"name": "edge"}})).json()["router"]["id"])
    view = RouterStatus(router_id=router, host=HostName("host1"), epoch=Epoch(1), state="active", reason="")
    controls.routers_known[router] = view
    assert [(each["name"], each["host"]) for each in await routers_of(api)] == [("edge", "host1")]
    damage(tmp_path)
    assert [(each["name"], each["host"]) for each in await routers_of(api)] == [("", "host1")]


async def routers_of(api: AsyncClient) -> list[dict[str, Any]]:
    """As `gapless status` asks for them."""
    found: list[dict[str, Any]] = (await api.get("/v2.0/gapless/routers")).json()["routers"]
    return found

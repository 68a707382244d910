"""Pages in somebody's browser get nothing out of the API and nothing into it, by whatever name they call it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from api_fakes import FakeControls
from httpx import ASGITransport, AsyncClient

from gapless.config import Address, ServerSettings
from gapless.controller.api.app import create_app
from gapless.controller.store.engine import Store
from gapless.observe.metrics import Metrics


async def status_of(
    store: Store, state_dir: Path, host: str | None, *, listening: str = "127.0.0.1", names: Sequence[str] = ()
) -> tuple[int, str]:
    """How a request to this Host is answered by an API that listens there; None: to no Host at all."""
    settings = ServerSettings(state_dir=state_dir, api=Address(host=listening, port=9696), api_names=tuple(names))
    app = create_app(store=store, settings=settings, controls=FakeControls(), metrics=Metrics())
    async with AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1:9696") as client:
        request = client.build_request("GET", "/v2.0/routers", headers={} if host is None else {"Host": host})
        if host is None:
            del request.headers["Host"]
        answer = await client.send(request)
        return answer.status_code, answer.json().get("NeutronError", {}).get("message", "")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:9696", "10.0.0.1", "[::1]:9696", "localhost", "LOCALHOST:9696", "localhost.", "x.localhost", "", None],
)
async def test_addresses_and_localhost_are_always_taken(store: Store, tmp_path: Path, host: str | None) -> None:
    assert (await status_of(store, tmp_path, host))[0] == 200
    assert (await status_of(store, tmp_path, host, names=["api.example"]))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example:9696", "127.0.0.1.evil.example", "localhost.evil.example", "notlocalhost"]
)
@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost"])
async def test_on_loopback_a_name_that_anybody_could_lead_there_is_refused(
    store: Store, tmp_path: Path, host: str, listening: str
) -> None:
    status, message = await status_of(store, tmp_path, host, listening=listening)
    assert status == 421
    assert message.startswith(f"This API is not called '{host}'.")
    assert "--api-name" in message


async def test_names_that_the_operator_gave_are_taken_and_then_no_others(store: Store, tmp_path: Path) -> None:
    for listening in ("127.0.0.1", "0.0.0.0"):
        for host, status in (("API.example:9696", 200), ("b.example", 200), ("c.example", 421)):
            said = await status_of(store, tmp_path, host, listening=listening, names=["api.example", "B.example"])
            assert said[0] == status, (listening, host)


async def test_where_others_are_meant_to_reach_it_any_name_is_taken_until_some_are_given(
    store: Store, tmp_path: Path
) -> None:
    for listening in ("0.0.0.0", "10.0.0.1", "network.example"):
        assert (await status_of(store, tmp_path, "whatever.example", listening=listening))[0] == 200
    named = await status_of(store, tmp_path, "network.example", listening="network.example", names=["api.example"])
    assert named[0] == 200


BODY = b'{"network": {"name": "made by a page"}}'


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", None]
)
async def test_a_body_that_a_page_may_send_unasked_is_refused(api: AsyncClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await api.post("/v2.0/networks", content=BODY, headers=headers)
    assert answer.status_code == 415
    assert answer.json()["NeutronError"]["type"] == "HTTPUnsupportedMediaType"
    assert "Content-Type: application/json" in answer.json()["NeutronError"]["message"]
    assert (await api.get("/v2.0/networks")).json() == {"networks": []}


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON ; charset=UTF-8"])
async def test_json_is_taken(api: AsyncClient, content_type: str) -> None:
    answer = await api.post("/v2.0/networks", content=BODY, headers={"Content-Type": content_type})
    assert answer.status_code == 201


async def test_a_page_that_asks_first_is_told_nothing(api: AsyncClient) -> None:
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    answer = await api.options("/v2.0/gapless/brake", headers=asks)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]

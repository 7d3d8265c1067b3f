"""The description of the API says what the server does: nothing is missing in it, and a server in a process of its own
keeps to it when schemathesis sends it thousands of requests, right ones and wrong ones.

``LATTICE_API_EXAMPLES=200`` makes the run long (minutes instead of seconds).
"""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from server_stub.config import Limits
from tests.rigs.described_server import (
    Described,
    closed,
    described_server,
    of_node,
    schemathesis,
    tagged,
    without_waiting,
)
from tests.rigs.server_app import control_plane

EXAMPLES = os.environ.get("LATTICE_API_EXAMPLES", "")
ENDLESS = "/(events|output)$"
"""Event streams go on for as long as their task does."""
PARTING = "/revoke$"
"""Would end the run with the run's own token; it has a run of its own."""


async def _description() -> dict[str, Any]:
    async with control_plane() as world:
        answer = (await world.client.get("/api/v1/openapi.json")).raise_for_status()
        description: dict[str, Any] = answer.json()
        return description


def _routes(app: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for route in app.routes:
        if isinstance(route, Route) and (route.path.startswith("/api/") or route.path == "/readyz"):
            found.setdefault(route.path, set()).update(method.lower() for method in route.methods or ())
    return found


async def test_every_route_is_described() -> None:
    """Methods as well; on the agents' wire some handlers don't look at theirs, as in the reference."""
    async with control_plane() as world:
        routes = _routes(world.app)
    paths = (await _description())["paths"]
    assert set(paths) == set(routes)
    for path, item in paths.items():
        described = set(item) - {"parameters"}
        if path.startswith("/api/v1/"):
            assert described == routes[path] - {"head"}, path
        else:
            assert described <= routes[path], path


async def test_every_reference_in_it_leads_somewhere() -> None:
    description = await _description()

    def references(value: object) -> list[str]:
        if isinstance(value, list):
            return [one for item in value for one in references(item)]
        if not isinstance(value, dict):
            return []
        own = [value["$ref"]] if "$ref" in value else []
        return own + [one for item in value.values() for one in references(item)]

    for reference in set(references(description)):
        place: Any = description
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    operations = [one for item in description["paths"].values() for name, one in item.items() if name != "parameters"]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names))
    linked = {name for one in operations for answer in one["responses"].values() for name in _links(answer)}
    assert linked
    assert linked <= set(names)


def _links(answer: dict[str, Any]) -> set[str]:
    return {link["operationId"] for link in answer.get("links", {}).values()}


async def test_anybody_may_read_it_at_the_rate_of_an_address() -> None:
    async with control_plane(Limits(address_rate=1.0, address_burst=2)) as world:
        statuses = [(await world.client.get("/api/v1/openapi.json")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


@pytest.fixture
def described(tmp_path: Path) -> Any:
    with described_server(tmp_path) as world:
        yield world


def _run(world: Described, place: Path, part: dict[str, Any], token: str, *options: str) -> None:
    """Fails with what schemathesis has found, and when it had nothing to find anything with."""
    file = place / "openapi.json"
    file.write_text(json.dumps(closed(part)))
    (place / "schemathesis.toml").write_text("")
    ran = schemathesis(world.server, file, token, *options)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
    assert " passed" in ran.stdout, ran.stdout[-2_000:]
    assert world.server.process.poll() is None


def _amount() -> tuple[str, ...]:
    """The coverage phase tries each bound and each way to be wrong once; fuzzing goes on from there."""
    return ("--phases", "coverage,fuzzing", "--max-examples", EXAMPLES) if EXAMPLES else ("--phases", "coverage")


@pytest.mark.long
def test_the_operators_api_keeps_to_it(described: Described, tmp_path: Path) -> None:
    """All checks. ``use_after_free`` and the like have nothing to look at: nothing is ever deleted."""
    part = without_waiting(tagged(described.description, "operators"))
    _run(described, tmp_path, part, described.operator, "--exclude-path-regex", f"{ENDLESS}|{PARTING}", *_amount())
    with described.client(described.operator) as client:
        assert client.get("/api/v1/nodes").status_code == 200


@pytest.mark.long
def test_revoking_operators_keeps_to_it(described: Described, tmp_path: Path) -> None:
    part = tagged(described.description, "operators")
    _run(described, tmp_path, part, described.operator, "--include-path-regex", PARTING, *_amount())


@pytest.mark.long
def test_the_agents_wire_keeps_to_it(described: Described, tmp_path: Path) -> None:
    """Without three checks. The base wire takes other methods on some paths than one would think of (two checks of
    methods), and it refuses what a schema cannot say, such as a public address that is none."""
    part = of_node(tagged(described.description, "agents"), "node-1")
    off = "unsupported_method,allow_header_conformance,positive_data_acceptance"
    _run(described, tmp_path, part, described.node, "--exclude-checks", off, *_agents_amount())
    with described.client(described.node) as client:
        assert client.get("/api/agent/config", params={"node_id": "node-1"}).status_code == 200


def _agents_amount() -> tuple[str, ...]:
    """The coverage phase of the big reports alone takes half a minute."""
    return _amount() if EXAMPLES else ("--phases", "fuzzing", "--max-examples", "10")


@pytest.mark.slow
def test_what_is_open_to_anybody_keeps_to_it(described: Described, tmp_path: Path) -> None:
    part = tagged(described.description, "open")
    off = "unsupported_method,allow_header_conformance"  # /api/health does not look at its method either
    _run(described, tmp_path, part, "", "--exclude-checks", off, *_amount())


def test_a_method_that_a_path_does_not_have_is_told_which_it_has(described: Described) -> None:
    with described.client(described.operator) as client:
        answer: httpx.Response = client.delete("/api/v1/nodes")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"

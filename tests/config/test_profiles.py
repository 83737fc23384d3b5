"""The profiles in `config/` load, their tests pass, and those that need no other machine deliver a webhook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config import load
from gateway.host.environment import Environment
from tests.cli.running import gateway
from tests.config.manual import EXAMPLE
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import PAYLOADS, SECRET

FOLDER = EXAMPLE.parent / "config"
PROFILES = [pytest.param(file, id=file.stem) for file in sorted(FOLDER.glob("*.toml"))]
BODY = next(PAYLOADS.glob("*.json")).read_bytes()


def text_of(name: str, *changes: tuple[str, str]) -> str:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_there_is_a_profile_for_each_purpose() -> None:
    assert [file.stem for file in sorted(FOLDER.glob("*.toml"))] == ["local", "minimal", "production", "service"]


@pytest.mark.parametrize("file", PROFILES)
def test_each_profile_loads_without_a_warning(file: Path) -> None:
    assert load(file, Environment({}), secrets=False).warnings == ()


def test_their_tests_pass() -> None:
    result = gateway("test", *sorted(FOLDER.glob("*.toml")))
    assert (result.status, result.err) == (0, "")
    assert "6 passed, 0 failed" in result.out


@pytest.mark.parametrize("file", [*PROFILES, pytest.param(EXAMPLE, id="example")])
def test_the_first_line_tells_editors_where_the_schema_lies(file: Path) -> None:
    sign, _, schema = file.read_text(encoding="utf-8").splitlines()[0].partition(" ")
    assert sign == "#:schema"
    assert json.loads((file.parent / schema).read_text(encoding="utf-8"))["title"] == "gateway.toml"


def test_the_smallest_profile_repeats_no_default() -> None:
    lines = [line for line in text_of("minimal").splitlines() if line and not line.startswith("#")]
    assert len(lines) == 10


def first_event(path: Path) -> object:
    """Return the body of the first event in a file; events of the gateway itself may follow it."""
    with path.open("rb") as lines:
        return json.loads(lines.readline())["body"]


async def test_the_smallest_one_delivers_given_the_secret_alone(tmp_path: Path) -> None:
    with Running(tmp_path, text_of("minimal"), {"LEGITMARK_SECRET": SECRET}) as running:
        assert (await running.post(BODY)).outcome == (200, "accepted")
        await until(lambda: running.audit("delivery.delivered", sink="archive"))
        assert first_event(tmp_path / "events.jsonl") == json.loads(BODY)


async def test_the_one_for_a_developer_delivers_to_the_service_and_the_file_beside_it(tmp_path: Path) -> None:
    with Receiver() as service:
        text = text_of("local", ("127.0.0.1:9080", "127.0.0.1:0"), ("127.0.0.1:9081", "127.0.0.1:0"))
        text = text.replace("127.0.0.1:3000", f"127.0.0.1:{service.port}")
        running = Running(tmp_path, text, {"LEGITMARK_SECRET": SECRET})
        running.audit_file = tmp_path / "local-audit.jsonl"
        with running:
            assert (await running.post(BODY)).outcome == (200, "accepted")
            await until(lambda: len(running.audit("delivery.delivered")) == 2)
        assert [(request.path, request.body) for request in service.requests] == [("/hooks/legitmark", BODY)]
        assert first_event(tmp_path / "local-events.jsonl") == json.loads(BODY)
        assert (tmp_path / "local.db").is_file()


def test_the_one_for_production_has_a_credential_for_each_secret(tmp_path: Path) -> None:
    for name in ("legitmark", "erp"):
        (tmp_path / name).write_text(SECRET)
    (tmp_path / "slack").write_text("https://hooks.example.com/services/T0/B0/x")
    (tmp_path / "smtp").write_text("correct-horse")
    config = load(FOLDER / "production.toml", Environment({"CREDENTIALS_DIRECTORY": str(tmp_path)}))
    assert config.warnings == ()
    assert {ref.credential for ref in config.secrets} == {"legitmark", "erp", "slack", "smtp"}
    assert all(f"LoadCredential={name}:" in text_of("production") for name in ("erp", "slack", "smtp")), "beside the unit's own"


async def test_the_one_for_the_service_delivers_given_the_secret_alone(tmp_path: Path) -> None:
    (tmp_path / "legitmark").write_text(SECRET)
    folders = {"/run/legitmark-gateway": str(tmp_path), "/var/lib/legitmark-gateway": str(tmp_path)}
    text = text_of("service", ('"fd:webhooks"', '"127.0.0.1:0"')).replace("/var/log/legitmark-gateway", str(tmp_path))
    for unit, here in folders.items():
        text = text.replace(unit, here)
    with Running(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) as running:
        assert (await running.post(BODY)).outcome == (200, "accepted")
        await until(lambda: running.audit("delivery.delivered", sink="archive"))


def test_the_production_profile_routes_the_gateways_own_events_to_a_person() -> None:
    config = load(FOLDER / "production.toml", Environment({}), secrets=False)
    assert [route.sinks for route in config.routes if route.sources == ("gateway",)] == [("operations",)]

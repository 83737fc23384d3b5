"""A sink type is one folder and one line: the pager of `tests/sinks/pager/` works everywhere as soon as it is in `SINK_TYPES`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.known_keys import known_keys
from gateway.config.schema import schema
from gateway.sinks import SINK_TYPES
from tests.sinks.pager import TYPE
from tests.sinks.pager.service import PagerService
from tests.support.forked_gateway import CODE
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import SECRET, event

PROGRAM = [sys.executable, "-c", "import tests.sinks.pager.registered; from gateway.cli import main; main()"]
TOKEN = "pager-5Hs2-never-shown"
MANUAL = (CODE / "gateway.toml.example").read_text(encoding="utf-8")
SHOWN = """
# [sinks.duty]
# type = "pager"
# # The host of the pager service.
# host = "pager.internal"
# # Its port.
# port = 4000
# # The pager that rings.
# number = "4711"
# # Proves to the service who we are.
# token = { env = "PAGER_TOKEN" }
# # A file whose text begins every page.
# prefix = "prefix.txt"
"""


def configured(folder: Path, port: int, number: str = "4711") -> str:
    (folder / "prefix.txt").write_text("Legitmark:")
    return f"""
[sources.legitmark]
secrets = [{{ env = "LEGITMARK" }}]

[sinks.duty]
type = "pager"
host = "127.0.0.1"
port = {port}
number = "{number}"
token = {{ env = "PAGER_TOKEN" }}
prefix = "prefix.txt"

[[routes]]
name = "everything"
sinks = ["duty"]
"""


async def gateway(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command in a process that has the pager, and return its exit code and all that it says."""
    environment = {**os.environ, "PYTHONPATH": str(CODE), "LEGITMARK": SECRET, "PAGER_TOKEN": TOKEN}
    command = [*PROGRAM, *arguments, "--config", "gateway.toml"]
    run = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    said = run.stdout.decode()
    assert TOKEN not in said
    return run.returncode, said


async def test_check_reports_a_bad_value_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(configured(tmp_path, 4000, number="nine"))
    status, said = await gateway(tmp_path, "check")
    assert status == 78
    assert "gateway.toml:9:10: " in said
    assert '[sinks.duty] number: "nine" is no number of a pager' in said
    assert "4 to 12 digits" in said


async def test_check_reports_an_unknown_key_and_suggests_one_of_the_type(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(configured(tmp_path, 4000).replace("number =", "numbr ="))
    status, said = await gateway(tmp_path, "check")
    assert status == 78
    assert 'did you mean "number"?' in said


async def test_a_probe_connects_and_sends_nothing(tmp_path: Path) -> None:
    async with PagerService() as service:
        (tmp_path / "gateway.toml").write_text(configured(tmp_path, service.port))
        status, said = await gateway(tmp_path, "check", "--probe")
        assert (status, service.pages) == (0, [])
    assert f"duty: connects to 127.0.0.1:{service.port} in " in said
    status, said = await gateway(tmp_path, "check", "--probe")
    assert status == 1
    assert "duty: failed: 127.0.0.1:" in said and "check the port" in said


async def test_route_renders_what_would_be_sent_without_the_secret(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(configured(tmp_path, 4000))
    status, said = await gateway(tmp_path, "route", "counterfeit", "--render", "duty")
    assert status == 0
    assert said.startswith("PAGE *** 4711 Legitmark: counterfeit ")


def test_the_conformance_suite_takes_it_as_a_subject() -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.sinks.pager.conforming", "-k", "pager"]
    command = [sys.executable, "-m", "pytest", *options, "tests/sinks/test_conformance.py"]
    run = subprocess.run(command, cwd=CODE, capture_output=True, timeout=5 * PATIENCE, check=False)
    said = run.stdout.decode()
    assert run.returncode == 0, said
    assert said.count(".") > 25, said


def test_a_type_that_the_suite_does_not_know_fails_it() -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.sinks.pager.registered", "-k", "test_every_sink_type_is_a_subject"]
    command = [sys.executable, "-m", "pytest", *options, "tests/sinks/test_conformance.py"]
    run = subprocess.run(command, cwd=CODE, capture_output=True, timeout=PATIENCE, check=False)
    assert run.returncode == 1, run.stdout.decode()


def test_the_schema_has_its_keys_once_the_manual_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SINK_TYPES, TYPE.name, TYPE)
    with pytest.raises(LookupError, match=r'gateway\.toml\.example has no sink with type = "pager"'):
        schema(MANUAL)
    found = schema(MANUAL + SHOWN)["definitions"]
    assert found["sink"]["properties"]["type"]["enum"] == [*SINK_TYPES]
    assert found["pager"]["required"] == ["host", "number", "token"]
    assert found["pager"]["properties"]["number"]["pattern"] == "^[0-9]{4,12}$"
    assert found["pager"]["properties"]["port"]["default"] == 4000


def test_its_keys_are_shown_where_an_unknown_key_would_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "number" not in known_keys()
    monkeypatch.setitem(SINK_TYPES, TYPE.name, TYPE)
    assert {"number", "prefix"} <= known_keys()


def test_a_type_that_names_a_key_which_it_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="telephone"):
        type(TYPE)(
            config=TYPE.config,
            open=TYPE.open,
            check=TYPE.check,
            probe=TYPE.probe,
            preview=TYPE.preview,
            destination=("telephone",),
        )


async def test_a_real_gateway_delivers_to_it_through_a_lane(tmp_path: Path) -> None:
    async with PagerService() as service:
        running = Running(tmp_path, configured(tmp_path, service.port), {"PAGER_TOKEN": TOKEN})
        running.program = PROGRAM
        with running:
            await running.post(event())
            await until(lambda: running.audit("delivery.delivered", sink="duty"))
            assert service.pages == [f"PAGE {TOKEN} 4711 Legitmark: qc_pending BAG-1\n".encode()]
            assert TOKEN not in running.stderr() + running.audit_file.read_text()

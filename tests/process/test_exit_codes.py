"""A gateway that cannot start or go on ends with the exit code that names the reason (docs/reference.md, exit codes)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.starting import start_another
from tests.support.waiting import until
from tests.support.webhooks import event


async def test_a_second_gateway_on_a_database_ends_with_73_and_the_holders_pid(running: Running) -> None:
    assert running.process is not None
    end = await asyncio.to_thread(start_another, running.config, running.secrets)
    assert end.returncode == 73 and f"pid {running.process.pid}" in end.stderr and "Traceback" not in end.stderr
    assert (await running.post(event())).status == 200
    assert len(running.audit("gateway.started")) == 1


async def test_an_address_in_use_ends_the_start_with_74_and_is_named(running: Running, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    address = running.addresses["webhooks"]
    assert isinstance(address, tuple)
    other = Running(
        folder, f'[server]\nlisten = ["127.0.0.1:{address[1]}"]\n[sinks.a]\ntype = "jsonl"\npath = "a"\n' + route("a")
    )
    end = await asyncio.to_thread(start_another, other.config, other.secrets)
    assert end.returncode == 74 and f"127.0.0.1:{address[1]}" in end.stderr and "Traceback" not in end.stderr


BAD = {
    "not TOML": ("[sinks", "TOML"),
    "an unknown key": ('[server]\nlisten = ["127.0.0.1:0"]\nlisten_on = 1', "listen_on"),
    "an unknown sink": ('[[routes]]\nsinks = ["erp"]', "erp"),
    "a literal secret": ('[sources.legitmark]\nsecrets = ["whsec_plain"]', "secret"),
    "no secret": ("[sources.legitmark]", "secrets"),
    "a secret that is not set": ('[sources.legitmark]\nsecrets = [{ env = "NOT_SET" }]', "NOT_SET"),
}


@pytest.mark.parametrize(("toml", "named"), BAD.values(), ids=BAD)
def test_a_bad_configuration_ends_with_78_and_names_what_is_wrong(tmp_path: Path, toml: str, named: str) -> None:
    running = Running(tmp_path, toml)
    end = start_another(running.config, running.secrets)
    assert end.returncode == 78 and named in end.stderr and "Traceback" not in end.stderr
    assert "whsec_" not in end.stderr.replace('"whsec_"', "")
    assert not running.database.exists() and not running.audit_file.exists()


def test_all_problems_of_a_configuration_are_reported_at_once(tmp_path: Path) -> None:
    running = Running(tmp_path, '[admin]\nlisten = ["nowhere"]\n[store]\nretention = "x"\n[[routes]]\nsinks = ["a", "b"]')
    said = start_another(running.config, running.secrets).stderr
    assert all(word in said for word in ('"nowhere"', "retention", '"a"', '"b"'))


def test_a_missing_configuration_ends_with_78(tmp_path: Path) -> None:
    assert start_another(tmp_path / "none.toml", {}).returncode == 78


@pytest.mark.parametrize("damage", ["the header", "another program's", "a page", "cut off"])
async def test_a_corrupt_database_ends_with_65_and_is_left_as_it_is(running: Running, damage: str) -> None:
    for _ in range(30):
        await running.post(event(reference_id="x" * 2000))
    assert await running.stop() == 0
    data = bytearray(running.database.read_bytes())
    if damage == "the header":
        data[:16] = b"Not SQLite at al"
    elif damage == "another program's":
        data[68:72] = b"ABCD"
    elif damage == "a page":
        data[4096 : 3 * 4096] = os.urandom(2 * 4096)
    else:
        del data[8192:]
    running.database.write_bytes(data)
    end = await asyncio.to_thread(start_another, running.config, running.secrets)
    assert end.returncode == 65 and "Traceback" not in end.stderr and end.stderr.startswith("gateway: error: ")
    assert running.database.read_bytes() == data


async def test_damaged_pages_that_a_start_does_not_read_are_found_after_a_crash(running: Running) -> None:
    """A start reads a row of each table, and the janitor the oldest 200. After an unclean end, the rest is read while serving."""
    for batch in range(13):
        await asyncio.gather(*(running.post(event(note=f"<batch {batch}>" + "x" * 3000)) for _ in range(20)))
    await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(0,)])  # nothing to read again
    assert await running.stop() == 0
    await asyncio.to_thread(running.start)
    running.kill()  # nothing was written: the file is whole, and the end unclean
    pages = running.database.read_bytes()
    with running.database.open("r+b") as file:
        for at in range(0, len(pages), 4096):
            if b"<batch 11>" in pages[at : at + 4096]:
                file.seek(at)
                file.write(os.urandom(4096))
    end = await asyncio.to_thread(start_another, running.config, running.secrets)
    assert end.returncode == 65 and "quick_check" in end.stderr and "Traceback" not in end.stderr
    assert "gateway.listening" in end.stderr  # the gateway served meanwhile


def test_a_database_in_a_missing_folder_ends_with_74(tmp_path: Path) -> None:
    running = Running(tmp_path, '[store]\npath = "nowhere/gateway.db"\n')
    end = start_another(running.config, running.secrets)
    assert end.returncode == 74 and "nowhere" in end.stderr and "Traceback" not in end.stderr

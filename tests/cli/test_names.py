"""A name of the sender's reaches the gateway as it is, whatever its characters mean in a URL or on a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.backups import ARCHIVED, admin
from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import event

NAMES = (".", "..", "a/b", "../messages", "/", "%2e%2e", "100%", "a b", "?limit=1", "#1", "a&b=c", "+", "品物", "\u202e")
LONG = "x" * 9000


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that heard of an item for each name."""
    with Running(tmp_path_factory.mktemp("standing"), ARCHIVED) as running, no_traceback(running):
        asyncio.run(_post(running))
        yield running


async def _post(running: Running) -> None:
    for number, name in enumerate(NAMES):
        assert (await running.post(event(f"sr-{number}", reference_id=name))).status == 200
    await until(lambda: len(running.audit("delivery.delivered")) == len(NAMES))


def asked(running: Running, *arguments: str | Path) -> Result:
    return command(*arguments, "--admin", admin(running), cwd=running.folder)


@pytest.mark.parametrize("name", NAMES)
def test_an_item_is_found_by_its_name(standing: Running, name: str, tmp_path: Path) -> None:
    sr_uuid = f"sr-{NAMES.index(name)}"
    found = asked(standing, "sr", name, "--json")
    assert (found.status, found.document()["requests"][0]["sr_uuid"]) == (0, sr_uuid), found.err
    shown = asked(standing, "show", name, "--json")
    assert (shown.status, shown.document()[0]["sr_uuid"]) == (0, sr_uuid), shown.err
    listed = asked(standing, "deliveries", "--id", name, "--json")
    assert (listed.status, listed.document()["sr_uuid"]) == (0, sr_uuid), listed.err
    replayed = asked(standing, "replay", name, "--delivered", "--dry-run")
    assert replayed.status == 0 and replayed.out.startswith("1 delivery"), replayed
    exported = asked(standing, "evidence", "export", name, tmp_path / "evidence.jsonl")
    assert exported.status == 0 and ": 1 message" in exported.out, exported


@pytest.mark.parametrize("name", NAMES)
def test_a_sink_of_that_name_is_unknown_and_nothing_else_is_asked(standing: Running, name: str) -> None:
    paused = asked(standing, "pause", name)
    assert paused.status == 2 and "there is no sink" in paused.err


@pytest.mark.parametrize(
    "arguments", [("sr", ""), ("show", ""), ("evidence", "export", "", "file"), ("replay", ""), ("reconcile", "")]
)
def test_an_empty_name_means_nothing(standing: Running, arguments: tuple[str, ...]) -> None:
    done = asked(standing, *arguments)
    assert done.status == 2 and "is empty: is a variable not set?" in done.err


@pytest.mark.parametrize("arguments", [("sr", LONG), ("show", LONG), ("replay", LONG), ("evidence", "export", LONG, "file")])
def test_a_name_that_fits_into_no_url_is_said_to_be_too_long(standing: Running, arguments: tuple[str, ...]) -> None:
    done = asked(standing, *arguments)
    assert done.status == 2 and "a name is too long" in done.err and len(done.err) < 200


def test_bytes_that_are_no_text_name_nothing(standing: Running) -> None:
    for arguments in (("sr", "\udcff"), ("show", "\udcff")):
        assert asked(standing, *arguments).status == 1
    done = asked(standing, "replay", "\udcff")
    assert done.status == 2 and '"\\udcff" is not UTF-8' in done.err

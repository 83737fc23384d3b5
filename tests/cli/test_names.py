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
HUGE = "".join(f"{number:06}" for number in range(33_000))
"""A reference id of 198,000 characters."""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that heard of an item for each name."""
    with Running(tmp_path_factory.mktemp("standing"), ARCHIVED) as running, no_traceback(running):
        asyncio.run(_post(running))
        yield running


async def _post(running: Running) -> None:
    for number, name in enumerate(NAMES):
        assert (await running.post(event(f"sr-{number}", reference_id=name))).status == 200
    huge = event("h" * 5000, reference_id=HUGE, event_type="t" * 1000)
    for _ in range(2):
        assert (await running.post(huge)).status == 200
    await until(lambda: len(running.audit("delivery.delivered")) == len(NAMES) + 1)


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


@pytest.mark.parametrize("name", ["SR-0", "Sr-0"])
def test_a_uuid_in_capitals_finds_the_same_everywhere(standing: Running, name: str) -> None:
    assert asked(standing, "sr", name, "--json").document()["requests"][0]["sr_uuid"] == "sr-0"
    assert asked(standing, "show", name, "--json").document()[0]["sr_uuid"] == "sr-0"
    assert asked(standing, "deliveries", "--sr", name, "--json").document()["sr_uuid"] == "sr-0"


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


@pytest.mark.parametrize("name", ["messages", "deliveries"])
def test_a_list_that_is_given_a_bare_name_says_how_to_give_it(standing: Running, name: str) -> None:
    done = asked(standing, name, "品物")
    said = f'gateway: error: "品物" is one argument too many for gateway {name}: name an item or a message with --id 品物\n'
    assert (done.status, done.err) == (2, said)


def test_an_argument_too_many_is_named() -> None:
    done = command("evidence", "verify", "one", "two")
    said = 'gateway: error: "two" is one argument too many for gateway evidence verify: see gateway evidence verify --help\n'
    assert (done.status, done.err) == (2, said)


@pytest.mark.parametrize("arguments", [("sr", LONG), ("show", LONG), ("replay", LONG), ("evidence", "export", LONG, "file")])
def test_a_name_that_fits_into_no_url_is_said_to_be_too_long(standing: Running, arguments: tuple[str, ...]) -> None:
    done = asked(standing, *arguments)
    assert done.status == 2 and "a name is too long" in done.err and len(done.err) < 200


def test_bytes_that_are_no_text_name_nothing(standing: Running) -> None:
    for arguments in (("sr", "\udcff"), ("show", "\udcff")):
        assert asked(standing, *arguments).status == 1
    done = asked(standing, "replay", "\udcff")
    assert done.status == 2 and '"\\udcff" is not UTF-8' in done.err


SHOWN = {
    "srs": (),
    "sr": ("{message}",),
    "messages": (),
    "deliveries": (),
    "show": ("{message}",),
    "tail": (),
    "evidence": ("verify", "{file}"),
}
"""Commands that show ids, each with its arguments."""


@pytest.mark.parametrize("name", SHOWN)
def test_an_id_of_200_kb_is_cut_for_people_and_whole_for_programs(standing: Running, name: str, tmp_path: Path) -> None:
    message = next(line["message_id"] for line in standing.audit("message.accepted") if line["reference_id"] == HUGE)
    file = tmp_path / "evidence.jsonl"
    assert asked(standing, "evidence", "export", message, file).status == 0
    forged = file.read_text(encoding="utf-8").replace('"reference_id":"000000', '"reference_id":"000001')
    file.write_text(forged, encoding="utf-8")
    given = [name, *(argument.format(message=message, file=file) for argument in SHOWN[name])]
    to = () if name in ("tail", "evidence") else ("--admin", admin(standing))
    said = command(*given, *to, cwd=standing.folder)
    shown = said.out if name != "show" else said.out[: said.out.index("{")]
    assert "000000000001" in shown and "characters more)" in shown, said.err
    assert max(map(len, shown.splitlines())) < 2500
    whole = command(*given, *to, "--json", cwd=standing.folder)
    assert HUGE[12:] in whole.out

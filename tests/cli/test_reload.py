"""`gateway reload`: its diff, its question, and how it finds the gateway beside a file that is not TOML."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, load
from gateway.config.diff import queued_deliveries
from gateway.host.environment import Environment
from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.cli.terminal import at_a_terminal
from tests.support.configurations import http_sink
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import SECRET, event

ARCHIVE = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n'
SPARE = '[sinks.spare]\ntype = "jsonl"\npath = "spare.jsonl"\n'
ROUTE = '[[routes]]\nsinks = ["archive"]\n'
MAIL = 'type = "email"\nhost = "mail.example.com"\nsecurity = "none"\nsender = "gateway@example.com"\n'
OTHER_MAIL = MAIL.replace("mail.example", "post.example")
TO_BOTH = '[[routes]]\nsinks = ["archive", "spare"]\n'


class Bench:
    def __init__(self, running: Running, admin: str) -> None:
        self.running = running
        self.admin = admin
        """The admin table, with an address that the command can read."""

    def write(self, toml: str) -> None:
        self.running.write_config(self.admin + toml)

    def run(self, *arguments: str) -> Result:
        return command("reload", *arguments, cwd=self.running.folder)

    @property
    def reloads(self) -> int:
        return len(self.running.audit("config.reloaded"))


@pytest.fixture
def bench(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Bench]:
    """A running gateway whose file has gained a sink since its start."""
    admin = f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n'
    with Running(tmp_path, admin + ARCHIVE + ROUTE) as running:
        bench = Bench(running, admin)
        bench.write(ARCHIVE + SPARE + TO_BOTH)
        yield bench


def test_diff_shows_the_changes_and_ends_there_on_a_pipe(bench: Bench) -> None:
    result = bench.run("--diff")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[0] == "  added [sinks.spare]" and "[[routes]]" in result.out
    assert "reloaded" not in result.out and bench.reloads == 0


@pytest.mark.parametrize(("typed", "reloads"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_diff_asks_at_a_terminal(bench: Bench, typed: str, reloads: int) -> None:
    result, shown = at_a_terminal("reload", "--diff", cwd=bench.running.folder, typed=typed)
    assert result.status == 0 and "  added [sinks.spare]" in result.out and "Reload? [y/N]" in shown
    assert bench.reloads == reloads and ("reloaded: 2 change(s)" in result.out) == bool(reloads)


def test_diff_with_yes_reloads_without_a_question(bench: Bench) -> None:
    result = bench.run("--diff", "--yes")
    assert result.status == 0 and "reloaded: 2 change(s)" in result.out and bench.reloads == 1
    result = bench.run("--diff", "--yes")
    assert (result.status, result.out) == (0, "nothing would change\n") and bench.reloads == 1
    assert bench.run().out == "reloaded: nothing has changed\n"


@pytest.mark.parametrize(
    ("options", "status", "reloads"), [([], "reloaded", 1), (["--diff"], "unchanged", 0), (["--diff", "--yes"], "reloaded", 1)]
)
def test_json_is_one_document(bench: Bench, options: list[str], status: str, reloads: int) -> None:
    result = bench.run("--json", *options)
    document: dict[str, Any] = result.document()
    assert (result.status, document["status"], bench.reloads) == (0, status, reloads)
    assert {"kind": "added", "place": "[sinks.spare]"}.items() <= document["changes"][0].items()
    assert document["restart"] == document["warnings"] == []
    again = json.loads(bench.run("--json", "--diff", "--yes").out)
    assert again["changes"] == ([] if reloads else document["changes"])


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_file_that_is_not_toml_is_refused_by_the_gateway_that_its_admin_table_names(bench: Bench, order: str) -> None:
    broken = '[sinks.erp]\ntype = "http\n'
    bench.running.config.write_text(bench.admin + broken if order == "before" else f"{broken}\n{bench.admin}")
    result = bench.run()
    assert (result.status, result.out) == (78, "") and f"{bench.running.config}:" in result.err and "is not TOML" in result.err
    assert result.err.splitlines() == command("check", cwd=bench.running.folder).out.splitlines()[:-1]
    assert len(bench.running.audit("config.refused")) == 1, "it was the gateway that found it"


def test_warnings_of_the_new_file_are_shown(bench: Bench) -> None:
    bench.write(ARCHIVE + SPARE + ROUTE)
    result = bench.run()
    assert result.status == 0 and "warning: [sinks.spare]: no route names this sink" in result.err and bench.reloads == 1


@pytest.mark.parametrize("text", ["", "[sinks.erp]\ntype =\n"], ids=["good", "broken"])
def test_it_is_69_if_no_gateway_answers(tmp_path: Path, free_port: Callable[[], int], text: str) -> None:
    (tmp_path / "gateway.toml").write_text(f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n{text}')
    result = command("reload", cwd=tmp_path)
    assert (result.status, result.out) == (69, "") and "gateway serve" in result.err and "Traceback" not in result.err


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ('[admin]\nlisten = ["nonsense"]', 2, "[admin] listen"),
        ("[admin]\nlisten = []", 2, "[admin] listen"),
        ('[admin]\nlistn = ["127.0.0.1:1"]', 78, "listn"),
        ('[admin]\nlistn = ["127.0.0.1:1"]\n[sinks.erp', 78, "listn"),
        ('[admin]\nlisten = ["127.0.0.1:1]', 78, "is not TOML"),
        ('admin.listen = ["127.0.0.1:1"]\n[sinks.erp', 78, "is not TOML"),
    ],
)
def test_a_broken_admin_table_does_not_mean_the_default_address(tmp_path: Path, text: str, status: int, said: str) -> None:
    """Another gateway of this host may listen at the default address."""
    (tmp_path / "gateway.toml").write_text(text)
    result = command("reload", cwd=tmp_path)
    assert result.status == status and said in result.err and "Traceback" not in result.err


def test_an_unreadable_file_is_78(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").mkdir()
    result = command("reload", "--config", "gateway.toml", cwd=tmp_path)
    assert result.status == 78 and "Traceback" not in result.err


def test_a_file_that_the_gateway_does_not_read_is_refused(bench: Bench) -> None:
    """Otherwise it would look as if the file brought no changes."""
    other = bench.running.folder / "other.toml"
    other.write_text((bench.running.folder / "gateway.toml").read_text() + "# another file\n")
    for options in ([], ["--diff"]):
        result = command("reload", "--config", other, *options, cwd=bench.running.folder)
        assert result.status == 78 and f"which is {bench.running.folder}/gateway.toml" in result.err
    link = bench.running.folder / "link.toml"
    link.symlink_to("gateway.toml")
    assert command("reload", "--config", link, cwd=bench.running.folder).status == 0
    assert bench.reloads == 1


SWAPPED = """[sinks.erp]
type = "jsonl"
path = "events.jsonl"
"""


@pytest.fixture
def waiting(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[tuple[Bench, Receiver]]:
    """A gateway with three paused sinks and two queued deliveries for each."""
    admin = f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n'
    with Receiver() as server:
        running = Running(tmp_path, admin + http_sink(server, "erp") + http_sink(server, "old") + ARCHIVE + TO_ALL)
        with running:
            bench = Bench(running, admin)
            for name in ("erp", "old", "archive"):
                assert command("pause", name, cwd=tmp_path).status == 0
            asyncio.run(_two_events(running))
            yield bench, server


TO_ALL = '[[routes]]\nsinks = ["erp", "old", "archive"]\n'


async def _two_events(running: Running) -> None:
    for _ in range(2):
        assert (await running.post(event())).outcome == (200, "accepted")
    await until(lambda: running.rows("SELECT queued FROM counters ORDER BY sink") == [(2,), (2,), (2,)])


def test_the_diff_says_what_happens_to_queued_deliveries_if_a_sink_moves_or_leaves(
    waiting: tuple[Bench, Receiver],
) -> None:
    bench, server = waiting
    other = http_sink(server, "archive")  # the names of the HTTP and the JSONL sink are swapped, and "old" leaves
    bench.write(SWAPPED + other + '[[routes]]\nsinks = ["erp", "archive"]\n')
    said = [
        "  archive: 2 queued deliveries go to the new destination",
        "  erp: 2 queued deliveries go to the new destination",
        "  old: 2 queued deliveries are held: no such sink",
    ]
    shown = bench.run("--diff")
    assert shown.status == 0 and bench.reloads == 0
    assert sorted(line for line in shown.out.splitlines() if "queued" in line) == said
    planned = bench.run("--json", "--diff").document()["deliveries"]
    assert sorted(planned, key=lambda one: str(one["sink"])) == [
        {"sink": "archive", "effect": "redirected", "queued": 2},
        {"sink": "erp", "effect": "redirected", "queued": 2},
        {"sink": "old", "effect": "held", "queued": 2},
    ]
    done = bench.run()
    assert sorted(line for line in done.out.splitlines() if "queued" in line) == said
    assert "old: 2 queued deliveries are held: no such sink" in bench.running.audit("config.reloaded")[0]["detail"]
    # Its name comes back: what was held is sent again.
    bench.write(SWAPPED + other + http_sink(server, "old") + TO_ALL)
    assert "  old: 2 queued deliveries are no longer held, and go to it" in bench.run("--diff").out.splitlines()


@pytest.mark.parametrize("change", ['timeout = "11s"', "concurrency = 3", 'headers = { "x-tenant" = "acme" }'])
def test_a_setting_that_is_not_the_destination_moves_no_delivery(waiting: tuple[Bench, Receiver], change: str) -> None:
    bench, server = waiting
    bench.write(http_sink(server, "erp", change) + http_sink(server, "old") + ARCHIVE + TO_ALL)
    assert bench.run("--json", "--diff").document()["deliveries"] == []
    assert "queued" not in bench.run("--diff").out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'type = "http"\non_stale = "annotate"\nurl = "http://127.0.0.1:9/a"',
            'type = "http"\non_stale = "annotate"\nurl = "http://127.0.0.1:9/b"',
        ),
        ('type = "slack"\nwebhook_url = { file = "one" }', 'type = "slack"\nwebhook_url = { file = "two" }'),
        ('type = "slack"\ntoken = { file = "one" }\nchannel = "C1"', 'type = "slack"\ntoken = { file = "one" }\nchannel = "C2"'),
        (f'{MAIL}recipients = ["a@example.com"]', f'{MAIL}recipients = ["a@example.com", "b@example.com"]'),
        (f'{MAIL}recipients = ["a@example.com"]', f'{OTHER_MAIL}recipients = ["a@example.com"]'),
        ('type = "jsonl"\npath = "a.jsonl"', 'type = "jsonl"\npath = "b.jsonl"'),
    ],
)
def test_every_part_of_a_destination_counts(tmp_path: Path, before: str, after: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"https://hooks.example.com/services/{name}-7Kq2Zx9w")
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "gateway.toml"
    old, new = (_loaded(file, routed(sink)) for sink in (before, after))
    (found,) = queued_deliveries(old, new, {"desk": 1})
    assert str(found) == "desk: 1 queued delivery goes to the new destination"
    (found,) = queued_deliveries(old, new, None)
    assert found.queued is None and "desk: its queued deliveries go to the new destination (the store cannot" in str(found)
    assert queued_deliveries(old, new, {"desk": 0}) == queued_deliveries(old, old, {"desk": 1}) == []
    (tmp_path / "one").write_text("https://hooks.example.com/services/three-7Kq2Zx9w")
    assert bool(queued_deliveries(old, _loaded(file, routed(before)), {"desk": 1})) == ("webhook_url" in before)


def routed(sink: str) -> str:
    return f'[sinks.desk]\n{sink}\n[[routes]]\nsinks = ["desk"]\n'


def _loaded(file: Path, text: str) -> Config:
    file.write_text('[sources.legitmark]\nsecrets = [{ env = "LEGITMARK" }]\n' + text)
    return load(file, Environment({"LEGITMARK": SECRET}))

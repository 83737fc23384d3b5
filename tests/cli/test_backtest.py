"""`gateway backtest`: past messages, routed by other routes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

import pytest

from gateway.core.records import Message, NewMessage
from tests.cli.running import TIMEOUT, Result, environment
from tests.cli.running import gateway as gateway_command
from tests.cli.terminal import at_a_terminal
from tests.store.kit import serving
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import event, signed

_SINKS = ("archive", "fraud_desk", "care")
OLD = """
[[routes]]
name = "verdicts"
match = { milestone = ["authentic", "counterfeit"] }
sinks = ["archive"]
[[routes]]
name = "trouble"
source = "gateway"
sinks = ["care"]
"""
NEW = """
[[routes]]
name = "counterfeits"
match = { milestone = "counterfeit" }
sinks = ["fraud_desk", "archive"]
[[routes]]
name = "trouble"
source = "gateway"
sinks = ["archive"]
"""


def with_sinks(rules: str) -> str:
    """Return a configuration of routes and the sinks that they name."""
    named = [name for name in _SINKS if f'"{name}"' in rules]
    return "".join(f'[sinks.{name}]\ntype = "jsonl"\npath = "{name}.jsonl"\n' for name in named) + rules


_SOURCE = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK" }]\n'


class Bench:
    def __init__(self, running: Running) -> None:
        self.running = running

    @property
    def admin(self) -> str:
        host, port = self.running.addresses["admin"]  # type: ignore[misc]
        return f"{host}:{port}"

    def arguments(self, *more: str, new: str = NEW) -> list[str]:
        (self.running.folder / "new.toml").write_text(_SOURCE + with_sinks(new))
        return ["backtest", "--against", "new.toml", "--admin", self.admin, *more]

    def run(self, *more: str, new: str = NEW) -> Result:
        return gateway_command(*self.arguments(*more, new=new), cwd=self.running.folder)

    def post(self, *bodies: bytes) -> None:
        async def post() -> None:
            for body in bodies:
                assert (await self.running.post(body)).status == 200

        asyncio.run(post())


def verdict(supplement: str, reference: str) -> bytes:
    return event(reference_id=reference, state={"primary": "COMPLETE", "supplement": supplement})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Twelve authentic items, three counterfeits, an unrouted message, a quarantined one, and the gateway's event about it."""
    with Running(tmp_path, with_sinks(OLD)) as running:
        bench = Bench(running)
        bench.post(*(verdict("APPROVED", f"BAG-{number}") for number in range(12)))
        bench.post(*(verdict("REJECTED", f"FAKE-{number}") for number in range(3)), event(), b"no JSON")
        asyncio.run(until(lambda: not running.rows("SELECT 1 FROM deliveries WHERE state = 'queued'")))
        yield bench


def test_it_counts_what_changes_and_what_each_sink_gains_and_loses(bench: Bench) -> None:
    before = bench.running.rows("SELECT count(*), sum(attempts) FROM deliveries")
    result = bench.run("--json")
    document = result.document()
    assert (result.status, result.err) == (0, "")
    assert (document["messages"], document["changed"]) == (17, 16), "the quarantined one is left out, its notice is not"
    assert document["sinks"] == {
        "archive": {"gains": 1, "loses": 12},
        "care": {"gains": 0, "loses": 1},
        "fraud_desk": {"gains": 3, "loses": 0},
    }
    assert bench.running.rows("SELECT count(*), sum(attempts) FROM deliveries") == before, "nothing was sent"


def test_ten_examples_name_the_route_that_is_responsible(bench: Bench) -> None:
    examples = bench.run("--json").document()["examples"]
    assert len(examples) == 10
    first = examples[0]
    assert (first["reference_id"], first["gains"], first["loses"]) == ("BAG-0", {}, {"archive": ["verdicts"]})
    assert first["milestone"] == "authentic" and {"message_id", "event_type", "sr_uuid"} <= first.keys()
    text = bench.run().out.splitlines()
    assert text[0] == "17 messages, 16 would go elsewhere:"
    assert any(line.split() == ["fraud_desk", "+3", "-0"] for line in text)
    (line,) = [line for line in text if "BAG-0" in line]
    assert '-archive (no longer by "verdicts")' in line


def test_since_leaves_out_earlier_messages(bench: Bench) -> None:
    now = datetime.now(UTC).isoformat()
    bench.post(verdict("REJECTED", "LATE"))
    document = bench.run("--json", "--since", now).document()
    assert (document["messages"], [one["reference_id"] for one in document["examples"]]) == (1, ["LATE"])
    assert '+fraud_desk (by "counterfeits")' in bench.run("--since", now).out
    assert bench.run("--since", "soon").status == 2


def test_equivalent_routes_change_nothing(bench: Bench) -> None:
    result = bench.run(new=OLD.replace('"verdicts"', '"judgements"'))
    assert (result.status, result.out) == (0, "17 messages; every one would go where it went\n")


def test_it_compares_with_the_routes_that_the_gateway_runs_not_with_those_in_the_file(bench: Bench) -> None:
    bench.running.write_config(with_sinks(NEW))
    assert bench.run("--json").document()["changed"] == 16
    assert gateway_command("reload", "--admin", bench.admin, cwd=bench.running.folder).status == 0
    assert bench.run("--json").document()["changed"] == 0


def test_a_progress_bar_is_shown_at_a_terminal_only(bench: Bench) -> None:
    result, seen = at_a_terminal(*bench.arguments(), cwd=bench.running.folder, typed="")
    assert result.status == 0 and "16 would go elsewhere" in result.out
    assert "backtest" in seen and "\x1b[" in seen
    result, seen = at_a_terminal(*bench.arguments("--json"), cwd=bench.running.folder, typed="")
    assert seen == "" and result.document()["changed"] == 16


def test_a_bad_file_is_78_with_its_problems_before_the_gateway_is_asked(tmp_path: Path, free_port: Callable[[], int]) -> None:
    (tmp_path / "new.toml").write_text(_SOURCE + '[[routes]]\nname = "x"\nsinks = ["nobody"]\n')
    result = gateway_command("backtest", "--against", "new.toml", "--admin", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    assert (result.status, result.out) == (78, "") and "nobody" in result.err and "new.toml:" in result.err
    assert gateway_command("backtest", "--against", "none.toml", cwd=tmp_path).status == 78
    assert gateway_command("backtest", cwd=tmp_path).status == 2


def test_it_is_69_if_no_gateway_answers(tmp_path: Path, free_port: Callable[[], int]) -> None:
    (tmp_path / "new.toml").write_text(_SOURCE + with_sinks(NEW))
    result = gateway_command("backtest", "--against", "new.toml", "--admin", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    assert (result.status, result.out) == (69, "") and "gateway serve" in result.err


# --- many messages

MANY = 20_000
_BODY = 2000
"""Bytes of one body: all bodies together have 40 MB."""
MOST_RSS = 100 * 1024
"""KiB of memory of the command; Python and its libraries take most of it."""
_WATCHED = """
import re, runpy, sys
sys.argv = ["gateway", *sys.argv[1:]]
try:
    runpy.run_module("gateway", run_name="__main__")
finally:
    # Not getrusage: its maximum is that of the process which started this one, too.
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""
LONGEST_ACK = 0.15
"""Seconds, of 98 in a hundred, on a machine whose two cores route for both sides meanwhile."""


async def fill(folder: Path) -> None:
    async with serving(folder / "gateway.db") as store:
        now = time.time()
        for at in range(0, MANY, 400):
            await asyncio.gather(*(store.accept(_message(number, now)) for number in range(at, at + 400)))


def _message(number: int, now: float) -> NewMessage:
    body = verdict("REJECTED" if number % 4 == 0 else "APPROVED", f"BAG-{number}" + "x" * _BODY)
    message = Message(f"{number:032x}", "legitmark", f"msg_{number}", now, None, body, "state_change", "authentic")
    return NewMessage(message, "accepted", f"identity {number}")


@pytest.mark.speed
def test_many_messages_cost_no_memory_and_ingest_does_not_notice(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    with Running(tmp_path, with_sinks(OLD)) as running:
        bench = Bench(running)
        with subprocess.Popen(
            [sys.executable, "-c", _WATCHED, *bench.arguments("--json")],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            out: list[bytes] = []
            reading = threading.Thread(target=lambda: out.extend(process.communicate()))
            reading.start()
            took = asyncio.run(_acks_while(running, reading.is_alive))
            reading.join(TIMEOUT)
        document = json.loads(out[0])
        assert process.returncode == 0 and MANY <= document["messages"] <= MANY + len(took)
        assert document["sinks"]["fraud_desk"]["gains"] == MANY // 4 and len(document["examples"]) == 10
        assert int(out[1].split()[-1]) < MOST_RSS
        assert len(took) > 20 and quantiles(took, n=100)[97] < LONGEST_ACK


async def _acks_while(running: Running, condition: Callable[[], bool]) -> list[float]:
    """Post messages one after the other, and return the seconds to each answer."""
    took = []
    while condition():
        body = event()
        answer = await running.post(body, signed(body))
        assert answer.status == 200
        took.append(answer.seconds)
        await asyncio.sleep(0.005)
    return took

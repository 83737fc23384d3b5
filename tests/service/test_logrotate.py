"""The rotation in `systemd/`, done by the real logrotate while webhooks come in: no line is lost, and `tail` reads them all."""

from __future__ import annotations

import asyncio
import getpass
import grp
import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import gateway
from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import event

RULES = Path(__file__).parents[2] / "systemd/legitmark-gateway.logrotate"
SINK = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n'
ROUNDS = 4

LOGROTATE = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def rules_for(folder: Path) -> Path:
    """Those of the service, for a folder and a user that are there on every machine."""
    text = RULES.read_text().replace("/var/log/legitmark-gateway", str(folder))
    text = text.replace("legitmark-gateway legitmark-gateway", f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}")
    rules = folder / "rules"
    rules.write_text(text)
    rules.chmod(0o644)
    return rules


def rotate(folder: Path, rules: Path) -> None:
    assert LOGROTATE is not None
    command = [LOGROTATE, "--force", "--state", str(folder / "state"), str(rules)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def lines_of(folder: Path, name: str) -> list[dict[str, object]]:
    """The lines of a log and of all files that it was rotated into."""
    files = sorted(folder.glob(f"{name}*"))
    raw = b"".join(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files)
    return [json.loads(line) for line in raw.splitlines()]


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
async def test_a_rotation_under_load_loses_no_line(tmp_path: Path) -> None:
    rules = rules_for(tmp_path)
    with Running(tmp_path, SINK + route("archive")) as running:
        sent: list[str] = []
        done = False

        async def send() -> None:
            while not done:
                answer = await running.post(event())
                assert answer.outcome == (200, "accepted")
                sent.append(answer.json()["id"])

        async with asyncio.TaskGroup() as senders:
            for _ in range(4):
                senders.create_task(send())
            for _ in range(ROUNDS):
                before = len(sent)
                await until(lambda before=before: len(sent) > before + 20)  # type: ignore[misc]
                await asyncio.to_thread(rotate, tmp_path, rules)
            done = True
        await until(lambda: len(lines_of(tmp_path, "events.jsonl")) == len(sent))

        archived = [line["message_id"] for line in lines_of(tmp_path, "events.jsonl")]
        audited = [line for line in lines_of(tmp_path, "audit.jsonl") if line["event"] == "message.accepted"]
        assert sorted(map(str, archived)) == sorted(str(line["message_id"]) for line in audited) == sorted(sent)
        names = {file.name for file in tmp_path.glob("audit.jsonl*")}
        rotated = {"audit.jsonl.1"} | {f"audit.jsonl.{number}.gz" for number in range(2, ROUNDS + 1)}
        assert names == {"audit.jsonl"} | rotated, "the youngest waits uncompressed for what is still written to it"

        shown = gateway("tail", "--config", running.config, "--json", "-n", "1000000", variables={"LEGITMARK": "unused"})
        told = [json.loads(line) for line in shown.out.splitlines()]
        assert sorted(line["message_id"] for line in told if line["event"] == "message.accepted") == sorted(sent)
        assert len(told) >= 2 * len(sent)
        assert shown.err == ""


def test_the_rules_never_copy_and_truncate() -> None:
    rules = [line.strip() for line in RULES.read_text().splitlines() if not line.strip().startswith("#")]
    assert "create 0640 legitmark-gateway legitmark-gateway" in rules
    assert "copytruncate" not in rules

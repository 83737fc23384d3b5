"""The shell blocks of `docs/operations.md` do what they say, one after the other, beside a running gateway."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.reading import ROOT, blocks, text_of
from tests.support.configurations import GOOD_AND_DEAD
from tests.support.forked_gateway import CODE
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import SECRET

TEXT = text_of(ROOT / "docs/operations.md")
BLOCKS = [block for block in blocks(TEXT) if not block.marker.startswith("not run: ")]
SHELL = [pytest.param(block.text, id=f"line {block.line}") for block in BLOCKS if block.kind == "sh"]
TOML = [pytest.param(block.text, id=f"line {block.line}") for block in BLOCKS if block.kind == "toml"]
QUESTIONS = [question.replace("\\|", "|") for question in re.findall(r"^\|[^|]*\| `(.*jq .*)` \|$", TEXT, re.MULTILINE)]
"""The questions that the table asks the audit log."""

CONFIG = f"""{GOOD_AND_DEAD}
[[routes]]
name = "verdicts"
match = {{ milestone = ["authentic", "counterfeit"] }}
sinks = ["erp"]

[[routes]]
name = "counterfeits are archived"
match = {{ milestone = "counterfeit" }}
sinks = ["archive"]

[[tests]]
name = "a counterfeit is a verdict"
event = {{ event_type = "state_change", state = {{ primary = "COMPLETE", supplement = "REJECTED" }} }}
routes = ["verdicts", "counterfeits are archived"]
"""
NEW_RULE = """
[[routes]]
name = "everything else is archived"
fallback = true
sinks = ["archive"]
"""


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(CODE),
        "NO_COLOR": "1",
        "LEGITMARK": SECRET,
    }
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a running gateway that has messages, dead deliveries and an unrouted message."""
    folder = tmp_path_factory.mktemp("operations")
    with Running(folder, CONFIG) as running:
        (folder / "new.toml").write_text(running.config.read_text() + NEW_RULE)
        sent = shell("gateway send counterfeit\ngateway send authentic\ngateway send draft", folder)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        asyncio.run(until(lambda: len(running.audit("delivery.dead")) == 2))
        yield folder


@pytest.mark.parametrize("script", SHELL)
def test_a_block_does_what_it_says(script: str, folder: Path) -> None:
    if "jq " in script and shutil.which("jq") is None:
        pytest.skip("jq is missing on this machine")
    ran = shell(script, folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_questions_to_the_audit_log_have_answers(folder: Path) -> None:
    ours = [question for question in QUESTIONS if "journalctl" not in question]
    assert len(ours) == len(QUESTIONS) - 1 > 3, "one of them asks the journal"
    if shutil.which("jq") is None:
        pytest.skip("jq is missing on this machine")
    answers = {question: shell(question, folder) for question in ours}
    assert {ran.returncode: ran.stderr for ran in answers.values()} == {0: ""}
    counterfeits = next(ran.stdout for question, ran in answers.items() if "counterfeit" in question)
    assert counterfeits.endswith("\tITEM-1042\terp,archive\n")


@pytest.mark.parametrize("table", TOML)
def test_a_table_of_toml_is_a_part_of_a_good_configuration(table: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(f'{table}\n[sources.legitmark]\nsecrets = [{{ env = "LEGITMARK" }}]\n{CONFIG}')
    ran = shell("gateway check --no-secrets", tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr

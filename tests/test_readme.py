"""The README does what it says: every block is executed, in its order, as a reader would, in one folder and one shell."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.reading import ROOT, blocks, text_of, without_blocks

README = text_of(ROOT / "README.md")
BLOCKS = [(one.kind, one.text) for one in blocks(README) if one.kind != "text" and not one.marker.startswith("not run:")]
SET_UP = [block for _, block in BLOCKS if block in ("make demo\n", "make test\n")]
INSTALL = [block for _, block in BLOCKS if "make install" in block]
FIRST_STEPS = [(kind, block) for kind, block in BLOCKS if block not in (*SET_UP, *INSTALL)]
MOST_WORDS = 1300
"""A newcomer reads the README in ten minutes, trying it included."""
BIN = Path(sys.executable).parent


def shell(script: str, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


def test_it_is_short() -> None:
    assert len(without_blocks(README).split()) < MOST_WORDS


def test_the_two_commands_that_set_everything_up_come_first() -> None:
    assert SET_UP == ["make demo\n", "make test\n"], "`make test` is what runs this; `make demo` is run below"


def test_the_demo_tells_its_story_and_everything_arrives(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "legitmark.secret").symlink_to(tmp_path / "of somebody else")
    ran = shell(f"gateway demo --once --dir {tmp_path / 'demo'}", tmp_path, 90)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Everything arrived as expected" in ran.stdout
    for told in ("duplicate", "joined", "bad_signature", "certificate_issued", "attempt 3", "fraud_desk", "バッグ-0042"):
        assert told in ran.stdout
    assert re.search(r"dead +erp +rejected .*HTTP 404", ran.stdout), "an item is left for a person to mend"
    assert "in_progress  LATE" in ran.stdout and "erp: not told:" in ran.stdout, "it ends with what the bag went through"
    assert (tmp_path / "demo" / "legitmark.secret").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "of somebody else").exists(), "a secret went where a link in the folder leads"


def test_the_first_configuration_and_the_first_event_do_what_they_say(tmp_path: Path) -> None:
    for port in (8080, 8081):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port}, which the README uses, is taken on this machine")
    assert [kind for kind, _ in FIRST_STEPS] == ["toml", "sh", "sh"]
    (tmp_path / "gateway.toml").write_text(FIRST_STEPS[0][1])
    if shutil.which("curl") is None:
        pytest.skip("curl is missing on this machine")
    ran = shell(f"set -m\n{FIRST_STEPS[1][1]}{FIRST_STEPS[2][1]}", tmp_path, 60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"status":"accepted"' in ran.stdout
    assert "delivery.delivered" in ran.stdout
    assert '{"status":"ready"}' in ran.stdout
    assert (tmp_path / "events.jsonl").read_text().count("\n") == 1


def test_the_installation_gives_a_working_command(tmp_path: Path) -> None:
    (block,) = INSTALL
    ran = shell(f"export HOME={tmp_path} PYTHON={sys.executable}\ncd {ROOT}\n{block}", tmp_path, 300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", ran.stdout.splitlines(keepends=True)[-1])

"""Every block of the README is executed, in its order, as a reader would: one folder, one shell."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SETUP = [block for _, block in BLOCKS if block.startswith("make ")]
INSTALL = [block for _, block in BLOCKS if "python3 -m venv" in block]
REST = [(kind, block) for kind, block in BLOCKS if block not in SETUP and block not in INSTALL]
BIN = Path(sys.executable).parent


def shell(script: str, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


def test_the_two_commands_that_set_everything_up_come_first() -> None:
    assert SETUP == ["make demo\n", "make test\n"], "`make test` is what runs this; `make demo` is run below"


def test_the_demo_tells_its_story_and_everything_arrives(tmp_path: Path) -> None:
    ran = shell(f"gateway demo --once --dir {tmp_path / 'demo'}", tmp_path, 90)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Everything arrived as told" in ran.stdout
    for told in ("duplicate", "bad_signature", "certificate_issued", "attempt 3", "fraud_desk", "バッグ-0042"):
        assert told in ran.stdout
    assert (tmp_path / "demo" / "legitmark.secret").stat().st_mode & 0o777 == 0o600


def test_the_blocks_under_run_it_do_what_they_say(tmp_path: Path) -> None:
    for port in (8080, 8081):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port}, which the README uses, is taken on this machine")
    assert [kind for kind, _ in REST] == ["toml", "sh", "sh"]
    (tmp_path / "gateway.toml").write_text(REST[0][1])
    if shutil.which("curl") is None:
        pytest.skip("curl is missing on this machine")
    ran = shell(f"set -m\n{REST[1][1]}{REST[2][1]}", tmp_path, 60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"status":"accepted"' in ran.stdout
    assert "delivery.delivered" in ran.stdout
    assert '{"status":"ready"}' in ran.stdout
    assert (tmp_path / "events.jsonl").read_text().count("\n") == 1


def test_the_hash_checked_installation_gives_a_working_command(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    (block,) = INSTALL
    ran = shell(block.replace("python3 -m venv", f"{sys.executable} -m venv"), tmp_path, 300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", ran.stdout.splitlines(keepends=True)[-1])
    installed = next(tmp_path.glob("gateway-venv/lib/*/site-packages/gateway"))
    assert (installed / "store" / "schema" / "0001_initial.sql").is_file()

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
README = (ROOT / "README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SETUP = [block for _, block in BLOCKS if block in ("make demo\n", "make test\n")]
INSTALL = [block for _, block in BLOCKS if "make install" in block]
TLS = [block for _, block in BLOCKS if "tls = " in block]
REST = [(kind, block) for kind, block in BLOCKS if block not in (*SETUP, *INSTALL, *TLS)]
_RECIPE = r"`(jq .*?|[^`|]*\\\| jq .*?)` \|$"
RECIPES: list[str] = [recipe.replace("\\|", "|") for recipe in re.findall(_RECIPE, README, re.MULTILINE)]
BIN = Path(sys.executable).parent


def shell(script: str, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


def test_the_two_commands_that_set_everything_up_come_first() -> None:
    assert SETUP == ["make demo\n", "make test\n"], "`make test` is what runs this; `make demo` is run below"


def test_the_demo_tells_its_story_and_everything_arrives(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "legitmark.secret").symlink_to(tmp_path / "of somebody else")
    ran = shell(f"gateway demo --once --dir {tmp_path / 'demo'}", tmp_path, 90)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Everything arrived as told" in ran.stdout
    for told in ("duplicate", "bad_signature", "certificate_issued", "attempt 3", "fraud_desk", "バッグ-0042"):
        assert told in ran.stdout
    assert (tmp_path / "demo" / "legitmark.secret").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "of somebody else").exists(), "a secret went where a link in the folder leads"


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
    _cook(tmp_path)


def _cook(folder: Path) -> None:
    """Every recipe for jq, over the audit log that is there now."""
    of_audit = [recipe for recipe in RECIPES if "audit.jsonl" in recipe]
    assert len(of_audit) == len(RECIPES) - 1 > 3, "one is for the journal"
    if shutil.which("jq") is None:
        pytest.skip("jq is missing on this machine: the recipes were not tried")
    said = [shell(recipe, folder, 10) for recipe in of_audit]
    assert [(ran.returncode, ran.stderr) for ran in said] == [(0, "")] * len(of_audit)
    counterfeits = next(ran.stdout for ran, recipe in zip(said, of_audit, strict=True) if "counterfeit" in recipe)
    assert counterfeits.endswith("\tITEM-1042\tarchive\n")


def test_the_block_about_tls_is_a_table_that_check_takes(tmp_path: Path) -> None:
    (block,) = TLS
    (tmp_path / "gateway.toml").write_text(f"{block}\n{REST[0][1]}")
    ran = shell("gateway check --no-secrets", tmp_path, 30)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_installation_gives_a_working_command(tmp_path: Path) -> None:
    (block,) = INSTALL
    ran = shell(f"export HOME={tmp_path} PYTHON={sys.executable}\ncd {ROOT}\n{block}", tmp_path, 300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", ran.stdout.splitlines(keepends=True)[-1])

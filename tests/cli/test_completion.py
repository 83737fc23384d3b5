"""`gateway completion`: a real bash loads the script, and offers the words that fit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import CONFIG, TIMEOUT, environment, gateway
from tests.cli.serving import serving

COMPLETE = """
source {script}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_gateway
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

Offered = Callable[..., list[str]]

real_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def offered(tmp_path: Path) -> Offered:
    """Return the words that bash offers at the Tab key, for a line whose last word is incomplete."""
    (tmp_path / "gateway.toml").write_text(CONFIG.format(port=1))
    (tmp_path / "script").write_text(gateway("completion", "bash").out)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/gateway"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n')
    command.chmod(0o755)
    variables = environment()
    variables["PATH"] = f"{command.parent}:{variables['PATH']}"

    def offered(*line: str) -> list[str]:
        script = COMPLETE.format(script=tmp_path / "script")
        done = subprocess.run(
            ["bash", "-c", script, "bash", "gateway", *line],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return offered


@real_bash
@pytest.mark.parametrize(
    ("line", "some"),
    [
        (["re"], ["reconcile", "redecode", "reload", "replay", "resume", "reverify"]),
        (["route", "counter"], ["counterfeit"]),
        (["route", "gateway.t"], ["gateway.toml"]),
        (["pause", ""], ["archive", "fraud_desk"]),
        (["drill", "f"], ["fraud_desk"]),
        (["replay", "--sink", "a"], ["archive"]),
        (["deliveries", "--sink", "a"], ["archive"]),
        (["tail", "--sink", "a"], ["archive"]),
        (["route", "authentic", "--render", ""], ["archive", "fraud_desk"]),
        (["drill", "--event", "counter"], ["counterfeit"]),
        (["replay", "--state", ""], ["dead"]),
        (["completion", "z"], ["zsh"]),
        (["pause", "x"], []),
        (["reverify", ""], ["legitmark"]),
        (["srs", "--state", "qc_r"], ["qc_rejected"]),
        (["srs", "--state", "QC/P"], ["QC/PENDING"]),
        (["srs", "--flag", "e"], ["ended_twice"]),
        (["evidence", ""], ["audit", "export", "verify"]),
        (["reconcile", "--o"], ["--open"]),
        (["sr", ""], []),
    ],
    ids=" ".join,
)
def test_bash_offers_the_words_that_fit(offered: Offered, line: list[str], some: list[str]) -> None:
    assert sorted(offered(*line)) == some


@real_bash
@pytest.mark.parametrize("command", [["sr"], ["show"], ["evidence", "export"], ["reconcile"]], ids=" ".join)
def test_bash_offers_the_service_requests_that_the_running_gateway_knows(
    offered: Offered, tmp_path: Path, command: list[str]
) -> None:
    folder = tmp_path / "serving"
    folder.mkdir()
    (folder / "gateway.toml").write_text(CONFIG.format(port=0) + '[admin]\nlisten = ["127.0.0.1:0"]\n')
    with serving(folder):
        for reference in ("BAG-7", "a bag"):
            sent = gateway(
                "send", "counterfeit", "--set", f"reference_id={reference}", "--set", f"sr_uuid={reference}-uuid", cwd=folder
            )
            assert sent.status == 0
        assert offered(*command, "--config", str(folder / "gateway.toml"), "BAG") == ["BAG-7", "BAG-7-uuid"]
        assert offered(*command, "--config", str(folder / "gateway.toml"), "a") == [], "a blank would make two words of it"


@real_bash
def test_bash_offers_options_too(offered: Offered) -> None:
    assert {"--follow", "--since", "--sink"} <= set(offered("tail", "--"))


@real_bash
def test_names_come_from_the_configuration_on_the_command_line(offered: Offered, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('include = ["more.toml"]\n[sinks.one]\n')
    (tmp_path / "more.toml").write_text("[sinks.two]\n")
    assert offered("pause", "--config", "other.toml", "") == ["one", "two"]


@real_bash
def test_an_unreadable_configuration_offers_nothing_and_prints_nothing(offered: Offered, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[sinks")
    assert offered("pause", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_it_can_read(shell: str, tmp_path: Path) -> None:
    result = gateway("completion", shell)
    assert (result.status, result.err) == (0, "")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(result.out)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=TIMEOUT)


def test_another_shell_is_a_usage_error() -> None:
    assert gateway("completion", "tcsh").status == 2

"""`gateway check`: exit codes, streams and the document for programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import environment, gateway

WARNED = '[sinks.spare]\ntype = "jsonl"\npath = "spare.jsonl"\n'


@pytest.fixture
def warned(folder: Path) -> Path:
    file = folder / "warned.toml"
    file.write_text((folder / "gateway.toml").read_text() + WARNED)
    return file


@pytest.fixture
def broken(folder: Path) -> Path:
    file = folder / "broken.toml"
    file.write_text((folder / "gateway.toml").read_text() + "[server2]\n[audit]\npth = 'x'\n")
    return file


def test_a_good_configuration_ends_with_0_and_says_what_is_in_it(folder: Path) -> None:
    result = gateway("check", cwd=folder)
    assert (result.status, result.err) == (0, "")
    good, note = result.out.splitlines()
    assert good == f"{folder}/gateway.toml: good: 1 source(s), 2 sink(s), 3 route(s)"
    assert note.startswith(f"{folder}/gateway.toml: note: [[routes]]: nobody is told when a delivery dies")
    assert gateway("check", "--strict", cwd=folder).status == 0, "a note is no warning"


def test_a_route_for_the_gateways_own_events_leaves_nothing_to_note(folder: Path) -> None:
    file = folder / "gateway.toml"
    file.write_text(file.read_text() + '[[routes]]\nname = "told"\nsource = "gateway"\nsinks = ["archive"]\n')
    result = gateway("check", cwd=folder)
    assert (result.status, result.out) == (0, f"{file}: good: 1 source(s), 2 sink(s), 4 route(s)\n")


def test_the_file_is_an_argument_or_an_option_or_a_variable(folder: Path) -> None:
    file = str(folder / "gateway.toml")
    for arguments, variables in ((["check", file], {}), (["check", "-c", file], {}), (["check"], {"GATEWAY_CONFIG": file})):
        assert gateway(*arguments, cwd=folder.parent, variables=variables).status == 0


def test_warnings_end_with_0_and_with_1_under_strict(warned: Path) -> None:
    at = len(warned.read_text().splitlines()) - 2
    line = f"{warned}:{at}:2: warning: [sinks.spare]: no route names this sink, so it receives nothing\n"
    for option, status in (([], 0), (["--strict"], 1)):
        result = gateway("check", warned, *option)
        assert result.status == status
        assert result.out.startswith(line)


def test_strict_changes_nothing_without_warnings(folder: Path) -> None:
    assert gateway("check", "--strict", cwd=folder).status == 0


@pytest.mark.parametrize("options", [[], ["--strict"], ["--no-secrets"]], ids=str)
def test_errors_end_with_78_and_are_all_reported(broken: Path, options: list[str]) -> None:
    result = gateway("check", broken, *options)
    assert (result.status, result.err) == (78, "")
    assert result.out == (
        f"{broken}:30:2: error: [server2]: unknown table\n"
        ' 30 | [server2]\n    |  ^^^^^^^ did you mean "server"?\n'
        f"{broken}:32:1: error: [audit] pth: unknown key\n"
        " 32 | pth = 'x'\n    | ^^^ did you mean \"path\"?\n"
        f"{broken}: 2 problem(s); the gateway would not use this file\n"
    )


def test_a_missing_file_ends_with_78(tmp_path: Path) -> None:
    result = gateway("check", tmp_path / "no.toml")
    assert result.status == 78
    assert "does not exist" in result.out


def test_secrets_are_read_unless_no_secrets_is_given(folder: Path) -> None:
    without = {"LEGITMARK_SECRET": ""}
    assert gateway("check", cwd=folder, variables=without).status == 78
    assert gateway("check", "--no-secrets", cwd=folder, variables=without).status == 0


def test_json_is_one_document_for_good_and_bad_files(folder: Path, warned: Path, broken: Path) -> None:
    good = gateway("check", "--json", cwd=folder)
    assert (good.status, good.document()) == (0, {"ok": True, "problems": []})
    warning = {
        "file": str(warned),
        "line": len(warned.read_text().splitlines()) - 2,
        "column": 2,
        "level": "warning",
        "place": "[sinks.spare]",
        "message": "no route names this sink, so it receives nothing",
        "hint": "",
    }
    assert gateway("check", "--json", warned).document() == {"ok": True, "problems": [warning]}
    strict = gateway("check", "--json", "--strict", warned)
    assert (strict.status, strict.document()) == (1, {"ok": False, "problems": [warning]})
    bad = gateway("check", "--json", broken)
    assert bad.status == 78
    assert bad.document()["ok"] is False
    assert [problem["place"] for problem in bad.document()["problems"]] == ["[server2]", "[audit] pth"]
    assert {problem["level"] for problem in bad.document()["problems"]} == {"error"}


def test_no_secret_is_shown(folder: Path) -> None:
    result = gateway("check", cwd=folder, variables={"LEGITMARK_SECRET": "v1,whsec_bm90LWEtc2VjcmV0"})
    assert result.status == 78
    assert "bm90LWEt" not in result.out + result.err


def test_the_other_commands_refuse_a_broken_configuration_with_78_and_its_problems_on_stderr(broken: Path) -> None:
    for arguments in (["serve"], ["route", "authentic"], ["send", "authentic"]):
        result = gateway(*arguments, "--config", broken)
        assert (result.status, result.out) == (78, "")
        assert len(result.err.splitlines()) == 6
        assert "[server2]" in result.err


def test_tail_reads_only_the_audit_table_of_a_broken_configuration(broken: Path) -> None:
    result = gateway("tail", "--config", broken)
    assert (result.status, result.out) == (78, "")
    assert "[audit] pth" in result.err and "[server2]" not in result.err


def test_positions_are_looked_up_only_for_problems_that_are_shown(folder: Path, warned: Path) -> None:
    for file, needed in ((folder / "gateway.toml", False), (warned, True)):
        code = (
            "import sys; from pathlib import Path; from gateway.config import load;"
            " from gateway.host.environment import Environment;"
            f"load(Path({str(file)!r}), Environment({{}}), secrets=False); sys.exit('tree_sitter' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=60, check=False)
        assert done.returncode == int(needed)


@pytest.mark.parametrize("byte", [b"\0", b"a"])
def test_a_large_file_without_a_blank_is_refused_as_fast_as_any_other(tmp_path: Path, byte: bytes) -> None:
    """Such as a database that was named as the configuration: each of its bytes may be part of a secret."""
    (tmp_path / "gateway.toml").write_bytes(b"x = \xff" + byte * 300_000)
    result = gateway("check", cwd=tmp_path)
    assert result.status == 78 and "save the file as UTF-8" in result.out

"""`bad/NAME.toml` is a broken configuration, and `bad/NAME.txt` is the exact output of `gateway check` for it.

`REWRITE_EXPECTED=1 pytest tests/config/test_bad_files.py` writes the `.txt` files anew: read each of them afterwards, as the
engineer who sees it at 3 a.m. would. What a file includes stands in `bad/NAME.d/`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from gateway.cli.check import check
from gateway.config.problems import masked
from tests.golden import same
from tests.support.webhooks import SECRET

BAD = Path(__file__).parent / "bad"
NAMES = sorted(path.stem for path in BAD.glob("*.toml"))
VARIABLES = {
    "LEGITMARK_SECRET": SECRET,
    "PASTED_SECRET": f"v1,{SECRET}",
    "SHORT_SECRET": "whsec_c2hvcnQ=",
    "PLAIN_SECRET": "correct-horse-battery-staple",
    "CUT_SECRET": SECRET[:-2],
    "SLACK_TOKEN": "xoxb-not-a-token",
    "EMPTY_SECRET": "",
    "DATABASE_URL_WITH_AN_AT": "postgresql://gateway:NEVER-SHOWN-4711@EITHER@db.example.internal/gateway",
    "SPACED_KEY": "Bearer leo_pk_4711",
}
_READ_BY_THE_GATEWAY = (
    "GATEWAY_CONFIG",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "STATE_DIRECTORY",
    "LOGS_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "NOT_SET_ANYWHERE",
)


@pytest.fixture(autouse=True)
def _known_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _READ_BY_THE_GATEWAY:
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def said_about(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    status = check(BAD / f"{name}.toml")
    output = capsys.readouterr()
    assert status == 78
    assert output.err == ""
    return output.out.replace(f"{BAD}/", "")


@pytest.mark.parametrize("name", NAMES)
def test_check_prints_the_expected_text_for_a_broken_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = said_about(name, capsys)
    same(said, BAD / f"{name}.txt")


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_appears_in_the_output(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = said_about(name, capsys)
    assert "NEVER-SHOWN" not in said
    assert "4711081547110815" not in said
    assert re.search(r"whsec_[^\"\s]", said) is None
    for value in filter(None, VARIABLES.values()):
        assert value not in said


@pytest.mark.parametrize("name", NAMES)
def test_each_problem_names_its_place_and_points_at_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    *lines, last = said_about(name, capsys).splitlines()
    assert all(line.isprintable() for line in lines)
    heads = [at for at, line in enumerate(lines) if not line.startswith(" ")]
    assert heads == list(range(0, len(lines), 3))
    for at in heads:
        head = re.fullmatch(rf"({name}(?:\.toml|\.d/[^:]+)):([0-9]+):([0-9]+): (error|warning): .+", lines[at])
        assert head is not None
        file, number, column = head[1], int(head[2]), int(head[3])
        text = (BAD / file).read_bytes().decode("utf-8-sig", "replace").split("\n")[number - 1].rstrip("\r")
        margin, shown, below = f" {number} | ", lines[at + 1], lines[at + 2]
        assert shown.startswith(margin) and len(shown) == len(margin) + len(text)
        # Masked or not, the caret stands below the same character.
        assert below.index("^") == len(margin) + cell_len(shown[len(margin) :][: column - 1])
        assert column <= len(text) + 1
    errors = sum(": error: " in lines[at] for at in heads)
    assert last == f"{name}.toml: {errors} problem(s); the gateway would not use this file"


def test_each_expected_text_has_its_file() -> None:
    assert sorted(path.stem for path in BAD.glob("*.txt")) == NAMES


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('secrets = [{ env = "A" }]  # the page says so', 'secrets = [{ env = "A" }]  # ...'),
        ('secrets = [{ env = "A" }, "whsec_a#b"] # x', 'secrets = [{ env = "A" }, "*********"] * *'),
        ('bearer = "tok#en" # x', 'bearer = "******" * *'),
        ('token = { env = "A" } # whsec_old', 'token = { env = "A" } # ...'),
    ],
)
def test_a_comment_after_a_secret_reference_is_omitted_instead_of_masked(line: str, shown: str) -> None:
    assert masked(line) == shown

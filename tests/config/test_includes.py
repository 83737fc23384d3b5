"""`include` reads routes, sinks and tests from drop-in files as if they were in one file, and errors name the right file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.core.errors import ConfigError
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.jsonl.config import JsonlConfig
from tests.cli.running import gateway
from tests.support.webhooks import SECRET

SOURCE = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n'
INCLUDE = 'include = ["routes.d/*.toml"]\n'


def sink(name: str) -> str:
    return f'[sinks.{name}]\ntype = "jsonl"\npath = "{name}.jsonl"\n'


def route(name: str, *sinks: str, milestone: str = "") -> str:
    match = f'match = {{ milestone = "{milestone}" }}\n' if milestone else ""
    return f'[[routes]]\nname = "{name}"\n{match}sinks = {list(sinks)}\n'


def expectation(name: str, *sinks: str) -> str:
    return f'[[tests]]\nname = "{name}"\nevent = {{ event_type = "media_rejected" }}\nsinks = {list(sinks)}\n'


def write(folder: Path, main: str, **drop_ins: str | bytes) -> Path:
    """Write `gateway.toml`, and `routes.d/NAME.toml` for each of the others."""
    (folder / "routes.d").mkdir()
    for name, text in drop_ins.items():
        (folder / "routes.d" / f"{name}.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    file = folder / "gateway.toml"
    file.write_text(main)
    return file


def loaded(file: Path) -> Config:
    return load(file, Environment({"LEGITMARK_SECRET": SECRET}))


def problems(file: Path) -> list[tuple[str, int | None, str]]:
    """Return the file, the line and the message of each problem."""
    with pytest.raises(ConfigError) as caught:
        loaded(file)
    assert caught.value.file == str(file)
    return [(str(Path(found.file).relative_to(file.parent)), found.line, found.wrong) for found in caught.value.problems]


def test_drop_in_files_come_after_the_file_in_the_order_of_their_names(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        INCLUDE + SOURCE + sink("a") + route("main", "a"),
        **{"20-z": route("third", "a"), "10-b": route("first", "a") + route("second", "a"), "9": route("last", "a")},
    )
    config = loaded(file)
    assert [found.name for found in config.routes] == ["main", "first", "second", "third", "last"]
    assert [path.name for path in config.files] == ["gateway.toml", "10-b.toml", "20-z.toml", "9.toml"]


def test_patterns_apply_in_order_and_a_file_that_matches_two_is_read_once(tmp_path: Path) -> None:
    include = 'include = ["routes.d/b.toml", "*.toml", "routes.d/*.toml"]\n'
    file = write(tmp_path, include + SOURCE + sink("s"), a=route("a", "s"), b=route("b", "s"))
    assert [found.name for found in loaded(file).routes] == ["b", "a"]


def test_a_route_without_a_name_is_numbered_across_all_files(tmp_path: Path) -> None:
    unnamed = "[[routes]]\nsinks = ['s']\nmatch = { milestone = '%s' }\n"
    file = write(tmp_path, INCLUDE + SOURCE + sink("s") + unnamed % "draft", a=unnamed % "queued", b=unnamed % "authentic")
    assert [found.name for found in loaded(file).routes] == ["route 1", "route 2", "route 3"]


def test_routes_sinks_and_tests_of_all_files_know_each_other(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        INCLUDE + SOURCE + sink("a") + route("to b", "b"),
        b=sink("b") + expectation("b is told", "b"),
        c=route("to a and c", "a", "c", milestone="draft") + sink("c"),
    )
    config = loaded(file)
    assert set(config.sinks) == {"a", "b", "c"}
    assert [found.sinks for found in config.routes] == [("b",), ("a", "c")]
    assert [test.settings.name for test in config.tests] == ["b is told"]
    assert config.warnings == ()


def test_relative_paths_of_a_drop_in_file_start_at_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "routes.d").mkdir()
    for name in ("signing", "tokens"):
        (tmp_path / "routes.d" / name).write_text(SECRET)
        (tmp_path / "routes.d" / name).chmod(0o600)
    erp = (
        '[sinks.erp]\ntype = "http"\nurl = "https://erp.example.internal/"\nsecret = { file = "signing" }\n'
        'headers = { "x-key" = { file = "./tokens" }, "x-tenant" = "acme" }\nordering = "sr"\n'
    )
    (tmp_path / "routes.d" / "erp.toml").write_text(erp + sink("archive") + route("all", "erp", "archive"))
    file = tmp_path / "gateway.toml"
    file.write_text(INCLUDE + SOURCE)
    config = loaded(file)
    archive, sending = config.sinks["archive"], config.sinks["erp"]
    assert isinstance(archive, JsonlConfig) and isinstance(sending, HttpConfig)
    assert config.base / archive.path == tmp_path / "routes.d" / "archive.jsonl"
    assert sending.secret == SecretRef(file=str(tmp_path / "routes.d" / "signing"))
    assert config.secret(sending.secret).reveal() == SECRET
    key = sending.headers["x-key"]
    assert isinstance(key, SecretRef) and config.secret(key).reveal() == SECRET
    assert sending.headers["x-tenant"] == "acme"


def test_an_absolute_path_stays_as_it_is(tmp_path: Path) -> None:
    text = f'[sinks.a]\ntype = "jsonl"\npath = "{tmp_path}/elsewhere.jsonl"\n' + route("all", "a")
    archive = loaded(write(tmp_path, INCLUDE + SOURCE, a=text)).sinks["a"]
    assert isinstance(archive, JsonlConfig) and archive.path == f"{tmp_path}/elsewhere.jsonl"


def test_a_pattern_may_be_absolute(tmp_path: Path) -> None:
    file = write(tmp_path, f'include = ["{tmp_path}/routes.d/*.toml"]\n' + SOURCE + sink("a"), a=route("all", "a"))
    assert [found.name for found in loaded(file).routes] == ["all"]


@pytest.mark.parametrize("pattern", ["", ".", "/", "**.toml"])
def test_an_invalid_pattern_is_a_problem_of_the_configuration(pattern: str, tmp_path: Path) -> None:
    file = write(tmp_path, f'include = ["{pattern}"]\n' + SOURCE + sink("a") + route("all", "a"))
    assert problems(file) == [("gateway.toml", 1, f'"{pattern}" is not a pattern of files')]


def test_an_empty_or_missing_folder_is_valid(tmp_path: Path) -> None:
    main = 'include = ["routes.d/*.toml", "no-such-folder/*.toml"]\n' + SOURCE + sink("a") + route("all", "a")
    file = write(tmp_path, main)
    config = loaded(file)
    assert config.files == (file,)
    assert config.warnings == ()


def test_a_folder_with_a_file_name_is_ignored(tmp_path: Path) -> None:
    file = write(tmp_path, INCLUDE + SOURCE + sink("a") + route("all", "a"))
    (tmp_path / "routes.d" / "old.toml").mkdir()
    assert loaded(file).files == (file,)


def test_a_plain_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, 'include = [\n  "routes.d/*.toml",\n  "care.toml",\n]\n' + SOURCE + sink("a") + route("all", "a"))
    assert problems(file) == [("gateway.toml", 3, "care.toml does not exist, or is not a file")]


def test_each_error_names_its_file_and_line(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        INCLUDE + SOURCE + sink("a") + route("all", "a", "nobody"),
        b="# one\n" + route("b", "a", "no"),
        c=sink("a") + route("all", "a"),
        d="[server]\n[sink]\n",
    )
    assert problems(file) == [
        ("gateway.toml", 9, 'there is no sink "nobody"'),
        ("routes.d/b.toml", 4, 'there is no sink "no"'),
        ("routes.d/c.toml", 1, "gateway.toml already has a sink with this name"),
        ("routes.d/c.toml", 5, "another route already has this name, in gateway.toml"),
        ("routes.d/d.toml", 1, "belongs in gateway.toml"),
        ("routes.d/d.toml", 2, "unknown table"),
    ]


def test_every_unreadable_file_is_reported_and_no_follow_up_problem(tmp_path: Path) -> None:
    main = INCLUDE + SOURCE + route("all", "b", "c")
    file = write(tmp_path, main, b=sink("b") + "[[routes]\n", c=sink("c").encode() + "# 保存\n".encode("shift_jis"), d=sink("d"))
    assert problems(file) == [
        ("routes.d/b.toml", 4, "is not TOML: the bracket of the table's name is not closed"),
        ("routes.d/c.toml", 4, "is not UTF-8 here"),
    ]


def test_the_warning_about_a_secret_file_names_the_drop_in_file(tmp_path: Path) -> None:
    erp = '[sinks.erp]\ntype = "http"\nurl = "https://erp.example.internal/"\nbearer = { file = "token" }\nordering = "sr"\n'
    text = erp + route("all", "erp")
    file = write(tmp_path, INCLUDE + SOURCE, erp=text)
    (tmp_path / "routes.d" / "token").write_text("token-9Zk1")
    (tmp_path / "routes.d" / "token").chmod(0o644)
    (warning,) = loaded(file).warnings
    assert (warning.file, warning.line) == (str(tmp_path / "routes.d" / "erp.toml"), 4)
    assert str(tmp_path / "routes.d" / "token") in warning.wrong


def test_check_prints_the_path_of_the_drop_in_file(tmp_path: Path) -> None:
    file = write(tmp_path, INCLUDE + SOURCE + sink("a"), **{"10-care": route("care", "car") + route("all", "a")})
    result = gateway("check", file, "--no-secrets")
    assert result.status == 78
    assert result.out.splitlines()[0] == (
        f'{tmp_path}/routes.d/10-care.toml:3:10: error: [[routes]] "care" sinks: there is no sink "car"'
    )
    assert result.out.splitlines()[-1] == f"{file}: 1 problem(s); the gateway would not use this file"

"""Unreadable paths in a configuration: each is a problem with its name, cause and place, and none is ignored.

The tests run as root, for whom no permission counts; so a child process without privileges does the reading.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

NOBODY = 65534
TEXT = 'include = ["§"]\n[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n'
DROP_IN = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n[[routes]]\nsinks = ["archive"]\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike that of pytest."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def said(folder: Path, pattern: str) -> str:
    """Return the error that a user without privileges gets; "" if the configuration is valid."""
    file = folder / "gateway.toml"
    file.write_text(TEXT.replace("§", pattern), encoding="utf-8")
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            text = ""
            try:
                load(file, Environment({"LEGITMARK_SECRET": SECRET}))
            except ConfigError as error:
                text = str(error)
            except BaseException as error:
                text = f"BUG {error!r}"
            os.write(into, text.encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def drop_ins(folder: Path) -> Path:
    inner = folder / "routes.d"
    inner.mkdir()
    (inner / "a.toml").write_text(DROP_IN, encoding="utf-8")
    return inner


def closed(inner: Path) -> None:
    inner.chmod(0o700)


def listed_and_not_entered(inner: Path) -> None:
    inner.chmod(0o744)


def dangling(inner: Path) -> None:
    (inner / "b.toml").symlink_to(inner / "gone.toml")


def circle(inner: Path) -> None:
    (inner / "b.toml").symlink_to(inner / "b.toml")


def pipe(inner: Path) -> None:
    os.mkfifo(inner / "b.toml")


def endless(inner: Path) -> None:
    (inner / "b.toml").symlink_to("/dev/zero")


def folder_for_a_file(inner: Path) -> None:
    (inner / "a.toml").unlink()
    (inner / "a.toml").mkdir()


def folder_that_is_a_dangling_link(inner: Path) -> None:
    inner.rename(inner.with_name("elsewhere"))
    inner.symlink_to("gone")


def folder_that_is_a_circle(inner: Path) -> None:
    inner.rename(inner.with_name("elsewhere"))
    inner.symlink_to(inner)


def folder_that_is_a_file(inner: Path) -> None:
    inner.rename(inner.with_name("elsewhere"))
    inner.write_text(DROP_IN, encoding="utf-8")


def folder_that_is_a_pipe(inner: Path) -> None:
    inner.rename(inner.with_name("elsewhere"))
    os.mkfifo(inner)


def unreadable_file(inner: Path) -> None:
    (inner / "a.toml").chmod(0o600)


@pytest.mark.parametrize("pattern", ["routes.d/*.toml", "routes.d/[ab].toml", "**/[ab].toml"])
@pytest.mark.parametrize("spoil", [closed, listed_and_not_entered, dangling, circle, pipe, endless, unreadable_file])
def test_an_unreadable_path_is_named_with_its_cause(spoil: Callable[[Path], None], pattern: str, folder: Path) -> None:
    inner = drop_ins(folder)
    assert said(folder, pattern) == ""
    spoil(inner)
    text = said(folder, pattern)
    assert "routes.d" in text and "error" in text and "BUG" not in text
    assert any(cause in text for cause in ("Permission denied", "No such file", "symbolic links", "is a pipe")), text


@pytest.mark.parametrize("pattern", ["routes.d/*.toml", "routes.d/./*.toml", "routes.d/deeper/*.toml", "routes.d/**/*.toml"])
@pytest.mark.parametrize(
    "spoil", [folder_that_is_a_dangling_link, folder_that_is_a_circle, folder_that_is_a_file, folder_that_is_a_pipe]
)
def test_a_path_that_is_not_a_folder_is_named_with_its_cause(spoil: Callable[[Path], None], pattern: str, folder: Path) -> None:
    inner = drop_ins(folder)
    assert said(folder, pattern) == ""
    spoil(inner)
    text = said(folder, pattern)
    assert f"{inner}: " in text and "error" in text and "BUG" not in text
    assert any(cause in text for cause in ("is not a folder", "No such file", "symbolic links")), text


def test_a_folder_in_place_of_a_file_is_reported_and_other_folders_are_not(folder: Path) -> None:
    folder_for_a_file(drop_ins(folder))
    file = folder / "gateway.toml"
    for pattern, told in (("routes.d/*.toml", True), ("routes.d/*", False), ("*/x.toml", False), ("gateway.tom*/x.toml", False)):
        file.write_text(TEXT.replace("§", pattern), encoding="utf-8")
        found = [one.wrong for one in load(file, Environment({"LEGITMARK_SECRET": SECRET})).warnings if one.place == "include"]
        assert found == [f"{folder}/routes.d/a.toml: is a folder, and is ignored"] * told


def test_a_named_file_in_a_forbidden_folder_is_not_reported_as_missing(folder: Path) -> None:
    drop_ins(folder).chmod(0o700)
    assert "Permission denied" in said(folder, "routes.d/a.toml")


@pytest.mark.parametrize("pattern", ["\\u0000", "a\\u0000b/*.toml", f"{'x' * 300}.toml", f"{'x' * 300}/*.toml"])
def test_a_name_that_no_file_can_have_is_a_problem_at_its_place(pattern: str, folder: Path) -> None:
    text = said(folder, pattern)
    assert f"{folder}/gateway.toml:1:12: error: include" in text and "BUG" not in text


@pytest.mark.parametrize("pattern", ["routes.d/*.toml", "routes.d/**/*.toml", "routes.d/../other.d/*.toml"])
def test_a_missing_folder_is_noted(pattern: str, folder: Path) -> None:
    assert said(folder, pattern) == ""
    notes = load(folder / "gateway.toml", Environment({"LEGITMARK_SECRET": SECRET})).notes
    missing = folder / pattern.partition("/*")[0]
    assert f'{missing}: does not exist, so "{pattern}" matches no file' in [one.wrong for one in notes]


@pytest.mark.parametrize("pattern", ["routes.d/*.toml", "*/*.toml", "*.d/a.toml"])
def test_an_empty_folder_is_valid(pattern: str, folder: Path) -> None:
    (drop_ins(folder) / "a.toml").unlink()
    assert said(folder, pattern) == ""
    config = load(folder / "gateway.toml", Environment({"LEGITMARK_SECRET": SECRET}))
    assert [one for one in (*config.warnings, *config.notes) if one.place == "include"] == []


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (f"{SECRET} \n", "ends with a space"),
        (f" {SECRET}\n", "begins or ends with a space"),
        (f"{SECRET}\t", "ends with a space"),
        (f"{SECRET}\u00a0\n", "ends with a space"),
        (f"\ufeff{SECRET}\n", "byte order mark"),
        (f"{SECRET}\n{SECRET}\n", "several lines"),
        (f"{SECRET}\r\n{SECRET}\r\n", "several lines"),
        (f"# the secret\n{SECRET}", "several lines"),
        ("\n", "is empty"),
        ("x" * (1 << 21), "longer than 1 MiB"),
    ],
)
def test_characters_that_an_editor_leaves_around_a_secret_are_reported_without_the_secret(
    content: str, cause: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    file = tmp_path / "gateway.toml"
    file.write_text('[sources.legitmark]\nsecrets = [{ file = "secret" }]\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, Environment({}))
    assert cause in str(caught.value) and SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n"])
def test_the_line_break_at_the_end_of_a_secret_file_is_ignored(content: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    file = tmp_path / "gateway.toml"
    file.write_text('[sources.legitmark]\nsecrets = [{ file = "secret" }]\n', encoding="utf-8")
    assert [secret.reveal() for secret in load(file, Environment({})).secrets.values()] == [SECRET]


OF_SINK = '[[routes]]\nsinks = ["m"]\n[sinks.m]\n'
PLACES = {
    "secret": '[sources.legitmark]\nsecrets = [{ file = "§" }]\n',
    "certificate": '[server]\ntls = { certificate = "§", key = "key.pem" }\n',
    "key": '[server]\ntls = { certificate = "key.pem", key = "§" }\n',
    "template": OF_SINK + 'type = "slack"\nwebhook_url = { env = "HOOK" }\ntemplate = "§"\n',
    "ca": OF_SINK + 'type = "http"\non_stale = "annotate"\nurl = "https://erp.example.com/"\nca = "§"\n',
    "store": '[store]\npath = "§"\n',
    "audit": '[audit]\npath = "§"\n',
    "jsonl": OF_SINK + 'type = "jsonl"\npath = "§"\n',
}


@pytest.mark.parametrize("kind", ["fifo", "folder", "/dev/zero", "/dev/null", "zero"])
@pytest.mark.parametrize("place", PLACES)
def test_a_path_that_is_no_file_is_a_problem_at_once_and_named(place: str, kind: str, tmp_path: Path) -> None:
    if (place, kind) == ("jsonl", "fifo"):
        return  # its reader takes the lines
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "key.pem").write_text("no key, and nobody is told so first")
    file = tmp_path / "gateway.toml"
    source = "" if place == "secret" else '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n'
    file.write_text(source + PLACES[place].replace("§", kind), encoding="utf-8")
    hook = "https://hooks.slack.com/services/T0/B0/kq7Zx2Lm9w"
    with pytest.raises(ConfigError) as caught:
        load(file, Environment({"LEGITMARK_SECRET": SECRET, "HOOK": hook}))
    said = [str(problem) for problem in caught.value.problems]
    cause = "is a folder" if kind == "folder" else "is a pipe, a socket or a device"
    assert any(f"{file}:" in one and cause in one for one in said), said


def test_a_ca_file_of_more_than_16_mib_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "ca.pem").open("wb") as ca:
        ca.truncate((16 << 20) + 1)
    file = tmp_path / "gateway.toml"
    file.write_text('[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n' + PLACES["ca"].replace("§", "ca.pem"))
    with pytest.raises(ConfigError, match="is longer than 16 MiB"):
        load(file, Environment({"LEGITMARK_SECRET": SECRET}))


def test_the_error_about_a_certificate_without_its_dashes_names_what_is_missing(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("BEGIN CERTIFICATE\nMIIB\nEND CERTIFICATE\n", encoding="utf-8")
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'[server]\ntls = {{ certificate = "cert.pem", key = "key.pem" }}\n{TEXT.partition("]")[2]}', encoding="utf-8"
    )
    with pytest.raises(ConfigError) as caught:
        load(file, Environment({"LEGITMARK_SECRET": SECRET}))
    assert str(caught.value).count("unless it is PEM with its BEGIN and END lines") == 2

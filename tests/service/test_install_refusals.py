"""`install.sh` leaves alone the folders and files of others and a service of another PREFIX, and refuses a bad PREFIX."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.checkout import Checkout

LIST = ".legitmark-gateway"
SERVICE = "usr/local/share/legitmark-gateway/installed"
PUT = (
    "usr/local/lib/systemd/system/legitmark-gateway.service",
    "usr/local/lib/systemd/system/legitmark-gateway.socket",
    "usr/local/lib/sysusers.d/legitmark-gateway.conf",
    "usr/local/bin/gateway",
    "usr/local/share/bash-completion/completions/gateway",
    "usr/local/share/zsh/site-functions/_gateway",
    "usr/local/share/fish/vendor_completions.d/gateway.fish",
    "etc/logrotate.d/legitmark-gateway",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("refusals") / "checkout")


def script(checkout: Checkout, action: str, prefix: str | Path, root: Path | str = "", **environment: str) -> tuple[int, str]:
    """Run one action; its exit code and what it said."""
    done = subprocess.run(
        [checkout.folder / "systemd/install.sh", action],
        env={"PATH": os.environ["PATH"], "HOME": "/home/nobody", "PREFIX": str(prefix), "DESTDIR": str(root)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def tree(folder: Path) -> dict[str, str]:
    """Everything below a folder, with what it holds or points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        what = f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else path.read_text()
        found[str(path.relative_to(folder))] = what
    return found


def lay(folder: Path, names: tuple[str, ...], text: str = "a stranger's") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def installation(prefix: Path, *, listed: bool = True, release: str = "1.0.0-12345678") -> None:
    """A PREFIX as `release` leaves it, but with an interpreter that only prints."""
    python = prefix / "releases" / release / "bin/python"
    (prefix / "releases" / release / "lib/python3.11/site-packages/legitmark_gateway-1.0.0.dist-info").mkdir(parents=True)
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho completion\n")
    python.chmod(0o755)
    (prefix / "bin").mkdir()
    (prefix / "bin/gateway").symlink_to("../current/bin/gateway")
    (python.parent / "gateway").write_text("#!/bin/sh\n")
    (prefix / "current").symlink_to(f"releases/{release}")
    if listed:
        (prefix / LIST).write_text(f"# list\nreleases/{release}\ncurrent\nbin/gateway\n")


@pytest.mark.parametrize("action", ["release", "service", "uninstall"])
@pytest.mark.parametrize(
    "prefix",
    [
        *("/", "//", "/usr", "/usr/", "/usr/local", "/usr/local/", "/usr//local", "/usr/./local", "/opt/../usr/local", "/opt"),
        *("/etc", "/bin", "/var/lib", "/home/nobody", "/home/nobody/.local", "/etc/legitmark-gateway", "/tmp"),
        *("relative", "~/.local", "/opt/a b", "/opt/a|b", "/opt/a'b", "/opt/$(id)", "/opt/a\nb", "/opt/gateway/.."),
    ],
)
def test_a_prefix_that_can_not_be_the_gateways_own_is_refused_by_every_action(
    checkout: Checkout, tmp_path: Path, action: str, prefix: str
) -> None:
    lay(tmp_path, (*PUT, "usr/local/releases/theirs", "bin/sh", "current", "releases/x"))
    before = tree(tmp_path)
    code, said = script(checkout, action, prefix, tmp_path)
    assert code == 1
    assert said.startswith("install.sh: ")
    assert said.count("\n") == 1 + prefix.count("\n")
    assert tree(tmp_path) == before


def test_a_link_to_a_shared_folder_is_that_folder(checkout: Checkout, tmp_path: Path) -> None:
    lay(tmp_path, ("usr/local/bin/theirs",))
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/gateway").symlink_to("../usr/local")
    before = tree(tmp_path)
    assert script(checkout, "uninstall", "/opt/gateway", tmp_path)[0] == 1
    assert script(checkout, "release", "/opt/gateway", tmp_path)[0] == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "theirs",
    [
        ("bin/theirs",),
        ("releases/theirs/file",),
        ("share/doc/theirs", "bin/gateway"),
        ("releases/1.0.0-12345678/file", "bin/gateway", "current"),
        (".hidden",),
    ],
)
def test_a_prefix_in_use_by_others_is_refused_and_left_as_it_is(
    checkout: Checkout, tmp_path: Path, theirs: tuple[str, ...]
) -> None:
    prefix = tmp_path / "prefix"
    lay(prefix, theirs)
    before = tree(prefix)
    code, said = script(checkout, "release", prefix)
    assert code == 1
    assert "in use by others" in said
    code, said = script(checkout, "uninstall", prefix)
    assert code == 1
    assert "nothing was removed" in said
    assert tree(prefix) == before


@pytest.mark.parametrize(
    ("listed", "theirs"),
    [
        (True, ("releases/9.9.9-strangers/file", "bin/other", "notes", "etc/x")),
        (False, ("releases/9.9.9-strangers/file",)),
    ],
    ids=["with its list", "by a version that kept no list"],
)
def test_an_uninstall_removes_what_the_list_names_and_nothing_beside_it(
    checkout: Checkout, tmp_path: Path, theirs: tuple[str, ...], *, listed: bool
) -> None:
    installation(tmp_path / "opt/one", listed=listed)
    lay(tmp_path / "opt/one", theirs)
    code, said = script(checkout, "uninstall", "/opt/one", tmp_path)
    assert code == 0, said
    assert {name for name, what in tree(tmp_path / "opt/one").items() if what != "folder"} == set(theirs)


def test_files_of_others_with_names_that_look_unfinished_are_left_alone(checkout: Checkout, tmp_path: Path) -> None:
    installation(tmp_path / "opt/one")
    theirs = tuple(f"{name}.new" for name in (*PUT, "opt/one/current", "opt/one/bin/gateway"))
    lay(tmp_path, theirs)
    for action in ("service", "service", "uninstall"):
        code, said = script(checkout, action, "/opt/one", tmp_path)
        assert code == 0, said
    left = tree(tmp_path)
    assert {name: left[name] for name in theirs} == dict.fromkeys(theirs, "a stranger's")
    kept = {"etc/legitmark-gateway/gateway.toml", "etc/legitmark-gateway/gateway.schema.json"}
    assert {name for name, what in left.items() if what != "folder"} == {*theirs, *kept}


@pytest.mark.parametrize("folder", ["releases", "bin"])
def test_a_link_inside_a_prefix_leads_to_no_folder_of_others(checkout: Checkout, tmp_path: Path, folder: str) -> None:
    installation(tmp_path / "opt/one")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "opt/one" / folder).rename(tmp_path / "theirs" / folder)
    (tmp_path / "opt/one" / folder).symlink_to(f"../../theirs/{folder}")
    before = tree(tmp_path / "theirs")
    code, said = script(checkout, "release", "/opt/one", tmp_path)
    assert code == 1 and f"/opt/one/{folder} is a link" in said
    script(checkout, "uninstall", "/opt/one", tmp_path)
    assert tree(tmp_path / "theirs") == before


def test_an_uninstall_removes_what_a_killed_installation_left_unfinished(checkout: Checkout, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    lay(prefix, ("releases/.new.123/bin/python", "releases/.new.theirs/file"))
    (prefix / LIST).write_text("# list\nreleases/.new.123\n")
    assert script(checkout, "uninstall", prefix)[0] == 0
    assert {name for name, what in tree(prefix).items() if what != "folder"} == {"releases/.new.theirs/file"}


def test_a_list_that_was_never_finished_is_no_file_of_others(checkout: Checkout, tmp_path: Path) -> None:
    lay(tmp_path, (f"prefix/{LIST}.new",))
    _, said = script(checkout, "release", tmp_path / "prefix", PYTHON="false")
    assert "in use by others" not in said and "Python 3.11 or later is needed" in said


def test_a_list_that_was_edited_reaches_nothing_outside(checkout: Checkout, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    lay(tmp_path, ("outside/file", "prefix/bin/other"))
    (prefix / LIST).write_text("releases/../../outside\n../outside\nbin\n/\n.\nbin/other\nreleases\nreleases/\n")
    assert script(checkout, "uninstall", prefix)[0] == 0
    assert {name for name, what in tree(tmp_path / "outside").items() if what != "folder"} == {"file"}
    assert (prefix / "bin/other").exists()


def test_a_service_belongs_to_the_prefix_that_made_it(checkout: Checkout, tmp_path: Path) -> None:
    root = tmp_path / "a root with blanks & 'quotes'"
    for prefix in ("opt/one", "opt/two"):
        installation(root / prefix)
    code, said = script(checkout, "service", "/opt/one", root)
    assert code == 0, said
    assert "ExecStart=/opt/one/bin/gateway serve\n" in (root / PUT[0]).read_text()
    assert all((root / name).is_file() for name in PUT)
    before = tree(root)

    code, said = script(checkout, "service", "/opt/two", root)
    assert code == 1
    assert "belongs to the gateway in /opt/one" in said
    assert tree(root) == before

    assert script(checkout, "uninstall", "/opt/two", root)[0] == 0
    assert not (root / "opt/two").exists()
    assert tree(root) == {name: what for name, what in before.items() if not name.startswith("opt/two")}

    assert script(checkout, "uninstall", "/opt/three", root)[0] == 1
    assert script(checkout, "uninstall", "/opt/one", root)[0] == 0
    assert {name for name, what in tree(root).items() if what != "folder"} == {
        "etc/legitmark-gateway/gateway.toml",
        "etc/legitmark-gateway/gateway.schema.json",
    }


def test_a_service_whose_installation_is_gone_can_be_taken_over(checkout: Checkout, tmp_path: Path) -> None:
    for prefix in ("opt/one", "opt/two"):
        installation(tmp_path / prefix)
    assert script(checkout, "service", "/opt/one", tmp_path)[0] == 0
    (tmp_path / "opt/one").rename(tmp_path / "opt/away")
    assert script(checkout, "service", "/opt/two", tmp_path)[0] == 0
    assert "ExecStart=/opt/two/bin/gateway serve\n" in (tmp_path / PUT[0]).read_text()


@pytest.mark.parametrize("name", PUT[:-1])
def test_a_file_of_others_where_the_service_wants_one_is_never_overwritten(checkout: Checkout, tmp_path: Path, name: str) -> None:
    installation(tmp_path / "opt/one")
    lay(tmp_path, (name,))
    before = tree(tmp_path)
    code, said = script(checkout, "service", "/opt/one", tmp_path)
    assert code == 1
    assert f"/{name} is there, and this script did not make it" in said
    left = tree(tmp_path)
    assert {key: left[key] for key in before} == before
    assert not (tmp_path / "etc/legitmark-gateway").exists(), "it was refused before anything was put"
    assert script(checkout, "uninstall", "/opt/one", tmp_path)[0] == 0
    assert (tmp_path / name).read_text() == "a stranger's"


def test_a_logrotate_file_of_the_operator_stays_and_an_unchanged_one_goes(checkout: Checkout, tmp_path: Path) -> None:
    for mine in (True, False):
        root = tmp_path / str(mine)
        installation(root / "opt/one")
        if mine:
            lay(root, (PUT[-1],))
        assert script(checkout, "service", "/opt/one", root)[0] == 0
        assert script(checkout, "service", "/opt/one", root)[0] == 0, "again, as an upgrade does"
        assert script(checkout, "uninstall", "/opt/one", root)[0] == 0
        assert (root / PUT[-1]).exists() == mine


def test_the_service_of_a_version_that_kept_no_list_is_adopted(checkout: Checkout, tmp_path: Path) -> None:
    installation(tmp_path / "opt/one")
    assert script(checkout, "service", "/opt/one", tmp_path)[0] == 0
    (tmp_path / SERVICE).unlink()
    installation(tmp_path / "opt/two")
    assert script(checkout, "service", "/opt/two", tmp_path)[0] == 1
    assert script(checkout, "uninstall", "/opt/two", tmp_path)[0] == 0
    assert all((tmp_path / name).is_file() for name in PUT)
    assert script(checkout, "service", "/opt/one", tmp_path)[0] == 0
    assert script(checkout, "uninstall", "/opt/one", tmp_path)[0] == 0
    assert not any((tmp_path / name).exists() for name in PUT)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Another process at work in a folder."""
    holder = subprocess.Popen(
        ["sh", "-c", f"exec 9<{shlex.quote(str(folder))}; flock 9; echo held; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        yield
    finally:
        holder.communicate("\n", timeout=60)


@pytest.mark.parametrize("folder", ["opt/one", "usr/local/share/legitmark-gateway"])
def test_two_at_once_take_turns(checkout: Checkout, tmp_path: Path, folder: str) -> None:
    installation(tmp_path / "opt/one")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    with held(tmp_path / folder):
        second = subprocess.Popen(
            [checkout.folder / "systemd/install.sh", "service"],
            env={"PATH": os.environ["PATH"], "PREFIX": "/opt/one", "DESTDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert second.stdout is not None
        assert "waiting for another install.sh" in second.stdout.readline()
        assert not (tmp_path / PUT[0]).exists()
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert (tmp_path / PUT[0]).exists()

"""`make install` and `make install-service`, done in a scratch root: what lies where, and what an upgrade leaves alone."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec import Struct

from tests.service.checkout import ROOT, Checkout, run
from tests.support.webhooks import SECRET

CONFIG = """
[server]
listen = ["unix:webhooks.sock"]
[admin]
listen = ["unix:admin.sock"]
[sources.legitmark]
secrets = [{ env = "LEGITMARK" }]
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
sinks = ["archive"]
"""


class Installed(Struct, frozen=True):
    """Version 1.0.0, and while a gateway runs in it, 1.0.1 as a service."""

    checkout: Checkout
    before: set[Path]
    """The files of the checkout before the installation."""
    prefix: Path
    system: Path
    """The scratch root (DESTDIR)."""
    said: str
    serving: subprocess.Popen[bytes]

    def release(self, version: str) -> Path:
        (found,) = (self.prefix / "releases").glob(f"{version}-*")
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("install")
    checkout, prefix, system = Checkout(folder / "checkout"), folder / "opt", folder / "root"
    # In the scratch root the same PREFIX, so that what is installed there finds it under its real name too.
    inside = system / prefix.relative_to("/")
    inside.parent.mkdir(parents=True)
    inside.symlink_to(prefix)
    checkout.release("1.0.0")
    before = checkout.files()
    checkout.make("install", PREFIX=prefix)
    with ExitStack() as processes:
        serving = processes.enter_context(_serving(prefix, folder))
        processes.callback(serving.kill)
        for name in ("0.0.8-used", "0.0.9-left", "0.0.9-strangers"):
            (prefix / "releases" / name / "bin").mkdir(parents=True)
        with (prefix / ".legitmark-gateway").open("a") as names:  # as an earlier install.sh would have noted its own
            names.write("releases/0.0.8-used\nreleases/0.0.9-left\n")
        used = prefix / "releases/0.0.8-used/bin/python"
        used.symlink_to("/bin/cat")
        using = processes.enter_context(subprocess.Popen([used], stdin=subprocess.PIPE))
        processes.callback(using.kill)
        checkout.release("1.0.1")
        said = checkout.make("install-service", PREFIX=prefix, DESTDIR=system)
        yield Installed(checkout, before, prefix, system, said, serving)


def _serving(prefix: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A gateway of the installed release that has started."""
    config = folder / "gateway.toml"
    config.write_text(CONFIG)
    environment = {"PATH": os.environ["PATH"], "LEGITMARK": SECRET}
    process = subprocess.Popen([prefix / "bin/gateway", "serve", "--config", config], env=environment, cwd=folder)
    for _ in range(1500):
        assert process.poll() is None
        if (folder / "audit.jsonl").exists() and b"gateway.started" in (folder / "audit.jsonl").read_bytes():
            return process
        time.sleep(0.01)
    process.kill()
    raise AssertionError("not started in time")


def test_the_command_is_the_new_release(installed: Installed) -> None:
    assert run(installed.prefix / "bin/gateway", "--version") == "1.0.1\n"
    assert run(installed.system / "usr/local/bin/gateway", "--version") == "1.0.1\n"
    assert f"{installed.prefix}/bin/gateway is 1.0.1" in installed.said


def test_what_runs_goes_on_in_the_release_in_which_it_began(installed: Installed) -> None:
    maps = Path(f"/proc/{installed.serving.pid}/maps").read_text()
    mapped = {line.split(maxsplit=5)[5] for line in maps.splitlines() if str(installed.prefix) in line}
    assert mapped
    assert {path.split("/releases/")[1].split("/")[0] for path in mapped} == {installed.release("1.0.0").name}
    assert not any(path.endswith("(deleted)") for path in mapped)
    installed.serving.terminate()
    assert installed.serving.wait(60) == 0


def test_the_release_before_stays_for_the_way_back_and_older_ones_go_unless_something_runs_in_them(installed: Installed) -> None:
    links = {name: str((installed.prefix / name).readlink()) for name in ("current", "previous")}
    assert links == {
        "current": f"releases/{installed.release('1.0.1').name}",
        "previous": f"releases/{installed.release('1.0.0').name}",
    }
    left = {path.name for path in (installed.prefix / "releases").iterdir()}
    assert left == {installed.release("1.0.1").name, installed.release("1.0.0").name, "0.0.8-used", "0.0.9-strangers"}


def test_a_release_has_uvloop_and_everything_else_of_its_own(installed: Installed) -> None:
    python = installed.release("1.0.1") / "bin/python"
    where = run(python, "-I", "-c", "import gateway, uvloop, re2; print(gateway.__file__, uvloop.__file__, re2.__file__)")
    assert all(path.startswith(f"{installed.release('1.0.1')}/lib/") for path in where.split())
    site = next(installed.release("1.0.1").glob("lib/*/site-packages"))
    assert list(site.glob("*.pth")) == list(site.glob("pip")) == [], "nothing is editable, and nothing can be installed into it"
    assert list(site.glob("gateway/__pycache__/*.pyc")), "the service can't write them"


def test_nothing_names_the_folder_in_which_a_release_was_made(installed: Installed) -> None:
    scripts = [*(installed.release("1.0.1") / "bin").iterdir(), installed.release("1.0.1") / "pyvenv.cfg"]
    assert not [path for path in scripts if path.is_file() and b"/.new" in path.read_bytes()]
    assert not list((installed.prefix / "releases").glob(".*"))


def test_an_installation_leaves_nothing_in_the_checkout(installed: Installed) -> None:
    assert installed.checkout.files() == installed.before


def test_the_service_is_put_where_systemd_looks_with_the_paths_of_this_installation(installed: Installed) -> None:
    units = installed.system / "usr/local/lib/systemd/system"
    service = (units / "legitmark-gateway.service").read_text()
    assert f"ExecStart={installed.prefix}/bin/gateway serve\n" in service
    assert "/opt/legitmark-gateway" not in service
    for path, source in {
        units / "legitmark-gateway.socket": "systemd/legitmark-gateway.socket",
        installed.system / "usr/local/lib/sysusers.d/legitmark-gateway.conf": "systemd/legitmark-gateway.sysusers.conf",
        installed.system / "etc/logrotate.d/legitmark-gateway": "systemd/legitmark-gateway.logrotate",
        installed.system / "etc/legitmark-gateway/gateway.toml": "config/service.toml",
        installed.system / "etc/legitmark-gateway/gateway.schema.json": "config/gateway.schema.json",
    }.items():
        assert path.read_bytes() == (ROOT / source).read_bytes()


def test_strangers_read_neither_the_configuration_nor_the_credentials(installed: Installed) -> None:
    etc = installed.system / "etc/legitmark-gateway"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (etc, etc / "credentials", etc / "gateway.toml")}
    assert modes == {etc: 0o750, etc / "credentials": 0o700, etc / "gateway.toml": 0o640}


def test_the_command_in_the_path_takes_credentials_from_where_the_unit_does() -> None:
    folder = "/etc/legitmark-gateway/credentials"
    assert f"LoadCredential=legitmark:{folder}/legitmark" in (ROOT / "systemd/legitmark-gateway.service").read_text()
    assert f"folder={folder}\n" in (ROOT / "systemd/gateway.sh").read_text()


@pytest.mark.parametrize(
    ("shell", "path"),
    [
        ("bash", "bash-completion/completions/gateway"),
        ("zsh", "zsh/site-functions/_gateway"),
        ("fish", "fish/vendor_completions.d/gateway.fish"),
    ],
)
def test_each_shell_takes_its_completion(installed: Installed, shell: str, path: str) -> None:
    script = installed.system / "usr/local/share" / path
    assert "backtest" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    run(shell, "-n", script)


def edited(installed: Installed) -> list[Path]:
    """Edit what belongs to the operator, and return the files."""
    mine = [installed.system / "etc" / name for name in ("legitmark-gateway/gateway.toml", "logrotate.d/legitmark-gateway")]
    for path in mine:
        path.write_text("# mine\n")
    return mine


def test_what_an_operator_changed_survives_the_next_installation(installed: Installed) -> None:
    mine = edited(installed)
    script = installed.checkout.folder / "systemd/install.sh"
    run("env", f"PREFIX={installed.prefix}", f"DESTDIR={installed.system}", script, "service")
    assert [path.read_text() for path in mine] == ["# mine\n", "# mine\n"]


def test_the_way_back_is_one_rename_and_removal_leaves_what_is_the_operators(installed: Installed) -> None:
    edited(installed)
    (installed.prefix / "previous").rename(installed.prefix / "current")
    assert run(installed.prefix / "bin/gateway", "--version") == "1.0.0\n"
    strangers = [installed.prefix / "bin/other", installed.prefix / "releases/0.0.9-strangers/mine", installed.prefix / "notes"]
    strangers += [installed.system / "usr/local/bin/other", installed.system / "usr/local/lib/systemd/system/other.service"]
    for path in strangers:
        path.write_text("not the gateway's")

    said = installed.checkout.make("uninstall", PREFIX=installed.prefix, DESTDIR=installed.system)
    assert "Not removed: " in said
    assert "/etc/logrotate.d/legitmark-gateway was not removed" in said, "it was edited"
    left = {path for path in installed.system.rglob("*") if path.is_file()}
    kept = {installed.system / "etc/legitmark-gateway" / name for name in ("gateway.toml", "gateway.schema.json")}
    assert left == kept | {installed.system / "etc/logrotate.d/legitmark-gateway", *strangers[3:]}
    files = {path for path in installed.prefix.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert files == set(strangers[:3])

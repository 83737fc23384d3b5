"""The units in `systemd/`, as systemd itself reads them, and as they fit the gateway and the configurations beside them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError, StoreCorrupt
from gateway.core.values import Duration
from gateway.host.descriptors import NEEDED
from gateway.host.environment import Environment

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "systemd"
SERVICE = FOLDER / "legitmark-gateway.service"
SOCKET = FOLDER / "legitmark-gateway.socket"
COMMAND = "/opt/legitmark-gateway/bin/gateway"
MOST_EXPOSED = 1.2

FOLDERS = {
    "CONFIGURATION_DIRECTORY": "/etc/legitmark-gateway",
    "STATE_DIRECTORY": "/var/lib/legitmark-gateway",
    "LOGS_DIRECTORY": "/var/log/legitmark-gateway",
    "RUNTIME_DIRECTORY": "/run/legitmark-gateway",
}
"""The paths that the four settings of the unit come to."""

systemd_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting of a unit, with its values in their order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def analyze(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, env={"LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A system in which both units and the command are installed."""
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for unit in (SERVICE, SOCKET):
        shutil.copy(unit, units)
    # What every system has, and `verify` looks for.
    for name in ("sysinit.target", "basic.target", "shutdown.target", "sockets.target", "network-online.target", "-.mount"):
        (units / name).write_text(f"[Unit]\nDescription={name}\n" + ("[Mount]\nWhat=none\nWhere=/\n" if "mount" in name else ""))
    command = tmp_path / COMMAND.lstrip("/")
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    yield tmp_path


@systemd_analyze
def test_the_service_is_hardly_exposed() -> None:
    said = analyze("security", "--offline=true", SERVICE)
    score = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert score is not None, said
    assert float(score[1]) <= MOST_EXPOSED


@systemd_analyze
def test_systemd_finds_nothing_wrong_with_the_units(root: Path) -> None:
    names = [SERVICE.name, SOCKET.name]
    said = analyze("verify", f"--root={root}", "--man=no", "--recursive-errors=yes", *names)
    assert [line for line in said.splitlines() if "legitmark" in line] == []


@systemd_analyze
def test_systemd_would_find_what_is_wrong_with_them(root: Path) -> None:
    with (root / "usr/lib/systemd/system" / SERVICE.name).open("a") as unit:
        unit.write("[Service]\nProtectSytem=strict\nExecStart=/no/such/command\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", "--man=no", SERVICE.name], capture_output=True, text=True, check=False
    )
    assert "ProtectSytem" in done.stderr


def test_every_command_of_the_unit_is_the_installed_one() -> None:
    found = settings(SERVICE)
    assert found["ExecStart"] == [f"{COMMAND} serve"]
    assert found["ExecReload"] == [f"{COMMAND} reload"]


def test_what_only_a_person_can_mend_is_not_restarted() -> None:
    found = settings(SERVICE)
    assert {int(code) for code in found["RestartPreventExitStatus"][0].split()} == {StoreCorrupt.exit_code, ConfigError.exit_code}
    assert (found["Restart"], found["StartLimitIntervalSec"]) == (["always"], ["0"])


def test_a_socket_that_starts_a_broken_service_gives_up_while_one_that_waits_for_a_restart_does_not() -> None:
    service, socket = settings(SERVICE), settings(SOCKET)
    interval, burst = Duration(socket["TriggerLimitIntervalSec"][0]), int(socket["TriggerLimitBurst"][0])
    assert interval / Duration(service["RestartSec"][0]) < burst


def test_the_socket_stays_open_with_the_name_that_the_configurations_use() -> None:
    (name,) = settings(SOCKET)["FileDescriptorName"]
    assert SOCKET.name in settings(SERVICE)["Requires"]
    for profile in ("service", "production"):
        config = load(ROOT / "config" / f"{profile}.toml", Environment(FOLDERS), secrets=False)
        assert config.server.listen == [f"fd:{name}"]


def test_a_stop_waits_longer_than_the_drain() -> None:
    for profile in ("service", "production"):
        config = load(ROOT / "config" / f"{profile}.toml", Environment(FOLDERS), secrets=False)
        assert Duration(settings(SERVICE)["TimeoutStopSec"][0]) > 2 * config.server.drain


def test_the_unit_allows_the_descriptors_that_the_gateway_needs() -> None:
    assert settings(SERVICE)["LimitNOFILE"] == [str(NEEDED)]


def test_the_unit_has_the_credentials_that_the_installed_configuration_needs() -> None:
    config = load(ROOT / "config/service.toml", Environment(FOLDERS), secrets=False)
    needed = {ref.credential for source in config.sources.values() for ref in source.secrets}
    assert settings(SERVICE)["LoadCredential"] == [f"{name}:/etc/legitmark-gateway/credentials/{name}" for name in needed]


@pytest.mark.parametrize("profile", ["service", "production"])
def test_a_configuration_means_the_same_files_in_a_shell_as_under_the_unit(profile: str) -> None:
    """Root's shell has none of the unit's variables, and its commands have to find the running gateway and its log."""
    file = ROOT / "config" / f"{profile}.toml"
    shell, unit = load(file, Environment({}), secrets=False), load(file, Environment(FOLDERS), secrets=False)
    assert (shell.database, shell.audit_log, shell.admin.listen) == (unit.database, unit.audit_log, unit.admin.listen)
    assert shell.database.parent == Path(FOLDERS["STATE_DIRECTORY"])
    assert shell.audit_log.parent == Path(FOLDERS["LOGS_DIRECTORY"])
    assert shell.admin.listen == [f"unix:{FOLDERS['RUNTIME_DIRECTORY']}/admin.sock"]


def test_the_unit_gives_those_folders_to_a_user_that_sysusers_makes() -> None:
    found = settings(SERVICE)
    name = "legitmark-gateway"
    assert [found[kind][0].split()[0] for kind in ("ConfigurationDirectory", "StateDirectory", "LogsDirectory")] == [name] * 3
    assert (found["RuntimeDirectory"], found["User"], found["Group"]) == ([name], [name], [name])
    assert re.search(rf"^u {name} ", (FOLDER / f"{name}.sysusers.conf").read_text(), re.MULTILINE)

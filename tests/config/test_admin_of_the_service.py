"""A command in a person's shell finds the admin listener of the installed service, without the folders that systemd sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import as_the_service, load_admin
from gateway.host.environment import Environment


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with the folders of an installed service."""
    for folder in ("etc", "run", "var/log", "var/lib"):
        (tmp_path / folder / "legitmark-gateway").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("table", ["", '[admin]\nlisten = ["unix:$RUNTIME_DIRECTORY/admin.sock"]\n'])
def test_a_command_finds_the_admin_listener_of_the_service_by_itself(root: Path, table: str) -> None:
    file = root / "etc/legitmark-gateway/gateway.toml"
    file.write_text(table)
    assert load_admin(file, as_the_service(file, Environment({}), root)).listen == [
        f"unix:{root}/run/legitmark-gateway/admin.sock"
    ]
    told = Environment({"RUNTIME_DIRECTORY": "/run/g"})
    assert load_admin(file, as_the_service(file, told, root)).listen == ["unix:/run/g/admin.sock"]


def test_only_the_service_file_and_existing_folders_change_the_environment(root: Path) -> None:
    file = root / "gateway.toml"
    file.write_text("")
    assert load_admin(file, as_the_service(file, Environment({}), root)).listen == ["127.0.0.1:8081"]
    file = root / "etc/legitmark-gateway/gateway.toml"
    file.write_text("")
    (root / "run/legitmark-gateway").rmdir()
    environment = as_the_service(file, Environment({}), root)
    assert load_admin(file, environment).listen == ["127.0.0.1:8081"]
    assert environment.directory("LOGS_DIRECTORY") == root / "var/log/legitmark-gateway"

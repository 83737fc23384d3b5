"""A command in a person's shell finds the admin listener of the installed service, though systemd set no folders there."""

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
def test_the_service_is_asked_where_it_listens_though_nobody_says_where_that_is(root: Path, table: str) -> None:
    file = root / "etc/legitmark-gateway/gateway.toml"
    file.write_text(table)
    assert load_admin(file, as_the_service(file, Environment({}), root)).listen == [
        f"unix:{root}/run/legitmark-gateway/admin.sock"
    ]
    told = Environment({"RUNTIME_DIRECTORY": "/run/g"})
    assert load_admin(file, as_the_service(file, told, root)).listen == ["unix:/run/g/admin.sock"]


def test_another_file_is_not_the_services_and_without_the_folders_there_is_none(root: Path) -> None:
    file = root / "gateway.toml"
    file.write_text("")
    assert load_admin(file, as_the_service(file, Environment({}), root)).listen == ["127.0.0.1:8081"]
    file = root / "etc/legitmark-gateway/gateway.toml"
    file.write_text("")
    (root / "run/legitmark-gateway").rmdir()
    environment = as_the_service(file, Environment({}), root)
    assert load_admin(file, environment).listen == ["127.0.0.1:8081"]
    assert environment.directory("LOGS_DIRECTORY") == root / "var/log/legitmark-gateway"

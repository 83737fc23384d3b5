"""The keys of an `http` sink that belong together: valid combinations, and the checks on a machine without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.config import Config, load
from gateway.core.errors import ConfigError
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
from gateway.sinks.http.config import HttpConfig
from tests.support.webhooks import SECRET

TOML = """
[sources.legitmark]
secrets = [{ env = "S" }]
[[routes]]
sinks = ["erp"]
"""
SINK = """
[sinks.erp]
type = "http"
url = "https://erp.example.internal/"
secret = [{ env = "S" }, { file = "new" }]
basic = { username = "gateway", password = { file = "password" } }
certificate = { file = "client.pem" }
key = { file = "client.key" }
ca = "ca.pem"
on_stale = "annotate"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a configuration with all of these keys in an included file, in a separate folder."""
    (tmp_path / "gateway.toml").write_text('include = ["more/*.toml"]\n' + TOML, encoding="utf-8")
    more = tmp_path / "more"
    more.mkdir()
    (more / "erp.toml").write_text(SINK, encoding="utf-8")
    for name, text in (("new", SECRET), ("password", "password-7Kp9")):
        (more / name).write_text(text, encoding="utf-8")
    authority = trustme.CA()
    leaf = authority.issue_cert("gateway.test")
    authority.cert_pem.write_to_path(str(more / "ca.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(more / "client.pem"))
    leaf.private_key_pem.write_to_path(str(more / "client.key"))
    for file in more.iterdir():
        file.chmod(0o600)
    (more / "client.pem").chmod(0o644)
    return tmp_path


def loaded(folder: Path, *, secrets: bool = True) -> Config:
    return load(folder / "gateway.toml", Environment({"S": SECRET} if secrets else {}), secrets=secrets)


def test_all_files_are_found_next_to_the_file_that_names_them(folder: Path) -> None:
    config = loaded(folder)
    sink = config.sinks["erp"]
    assert isinstance(sink, HttpConfig)
    assert sink.secrets == [SecretRef(env="S"), SecretRef(file=str(folder / "more" / "new"))]
    assert sink.basic is not None
    assert config.secret(sink.basic.password).reveal() == "password-7Kp9"
    assert sink.ca == str(folder / "more" / "ca.pem")
    assert config.secrets_of(sink)[:3] == [SECRET, SECRET, "password-7Kp9"], "what a reload compares"
    assert len(config.secrets_of(sink)) == 5


def test_a_certificate_may_be_world_readable_but_its_key_may_not(folder: Path) -> None:
    assert loaded(folder).warnings == ()
    (folder / "more" / "client.key").chmod(0o644)
    (warning,) = loaded(folder).warnings
    assert warning.place == "[sinks.erp] key"


@pytest.mark.parametrize("name", ["ca.pem", "client.pem", "client.key", "new", "password"])
def test_a_missing_file_is_an_error_unless_secrets_are_skipped(name: str, folder: Path) -> None:
    (folder / "more" / name).unlink()
    with pytest.raises(ConfigError) as error:
        loaded(folder)
    (problem,) = error.value.problems
    assert f"{folder}/more/{name}: No such file or directory" in problem.wrong
    assert loaded(folder, secrets=False).warnings == ()


def test_one_secret_needs_no_list(folder: Path) -> None:
    file = folder / "more" / "erp.toml"
    file.write_text(SINK.replace('[{ env = "S" }, { file = "new" }]', '{ env = "S" }'), encoding="utf-8")
    sink = loaded(folder).sinks["erp"]
    assert isinstance(sink, HttpConfig)
    assert sink.secrets == [SecretRef(env="S")]

"""Places: the file itself, the default paths in systemd's folders, the secrets, and the addresses of `listen`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import Config, find, load
from gateway.config.addresses import Address, Inherited, Tcp, Unix, is_local, parse_address
from gateway.core.errors import ConfigError
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
from gateway.sinks.jsonl.config import JsonlConfig
from tests.support.webhooks import SECRET

SMALLEST = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK_SECRET" }]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def made(file: Path, text: str = SMALLEST) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def load_text(folder: Path, text: str = SMALLEST, **variables: str) -> Config:
    return load(made(folder / "gateway.toml", text), Environment({"LEGITMARK_SECRET": SECRET} | variables))


def problems_of(folder: Path, text: str, **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, **variables)
    return "\n".join(map(str, caught.value.problems))


def test_the_file_that_is_given_wins(here: Path, tmp_path: Path) -> None:
    given, other = made(tmp_path / "given.toml"), made(tmp_path / "other.toml")
    made(here / "gateway.toml")
    assert find(given, Environment({"GATEWAY_CONFIG": str(other)})) == given


def test_the_variable_the_current_folder_and_the_systemd_folder_follow_in_this_order(here: Path, tmp_path: Path) -> None:
    named, local, systemd = tmp_path / "named.toml", here / "gateway.toml", tmp_path / "etc" / "gateway.toml"
    variables = {"GATEWAY_CONFIG": str(named), "CONFIGURATION_DIRECTORY": str(systemd.parent)}
    for file in (named, local, systemd):
        made(file)
    assert find(None, Environment(variables)) == named
    variables.pop("GATEWAY_CONFIG")
    assert find(None, Environment(variables)) == local
    local.unlink()
    assert find(None, Environment(variables)) == systemd


def test_the_last_place_is_etc_and_all_places_are_named_in_their_order_where_none_has_it(here: Path, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    with pytest.raises(ConfigError) as caught:
        find(None, Environment({"CONFIGURATION_DIRECTORY": str(folder)}))
    said = str(caught.value)
    places = ["gateway.toml,", f"{folder}/gateway.toml,", "/etc/legitmark-gateway/gateway.toml"]
    assert [said.index(place, said.index("looked at")) for place in places] == sorted(said.index(place) for place in places)
    assert "--config" in said


def test_a_missing_named_file_is_an_error_and_no_other_file_is_used(here: Path) -> None:
    made(here / "gateway.toml")
    for given, variables in ((Path("no.toml"), {}), (None, {"GATEWAY_CONFIG": "no.toml"}), (here, {})):
        with pytest.raises(ConfigError, match="does not exist, or is not a file"):
            find(given, Environment(variables))


def test_an_empty_variable_counts_as_unset(here: Path) -> None:
    made(here / "gateway.toml")
    assert find(None, Environment({"GATEWAY_CONFIG": "", "CONFIGURATION_DIRECTORY": ""})) == here / "gateway.toml"


def test_a_relative_name_becomes_absolute(here: Path) -> None:
    made(here / "gateway.toml")
    assert find(Path("gateway.toml"), Environment({})).is_absolute()


def test_without_systemd_all_files_lie_next_to_the_configuration(tmp_path: Path) -> None:
    config = load_text(tmp_path)
    assert config.database == tmp_path / "gateway.db"
    assert config.audit_log == tmp_path / "audit.jsonl"
    assert config.admin.listen == ["127.0.0.1:8081"]


def test_with_systemd_its_folders_are_the_defaults(tmp_path: Path) -> None:
    config = load_text(tmp_path, STATE_DIRECTORY="/var/lib/g:/second", LOGS_DIRECTORY="/var/log/g", RUNTIME_DIRECTORY="/run/g")
    assert config.database == Path("/var/lib/g/gateway.db")
    assert config.audit_log == Path("/var/log/g/audit.jsonl")
    assert config.admin.listen == ["unix:/run/g/admin.sock"]


def test_a_written_path_wins_over_the_folders_of_systemd(tmp_path: Path) -> None:
    text = SMALLEST + '[store]\npath = "a.db"\n[audit]\npath = "/b/a.jsonl"\n[admin]\nlisten = ["127.0.0.1:9"]\n'
    config = load_text(tmp_path, text, STATE_DIRECTORY="/var/lib/g", LOGS_DIRECTORY="/var/log/g", RUNTIME_DIRECTORY="/run/g")
    assert config.database == tmp_path / "a.db"
    assert config.audit_log == Path("/b/a.jsonl")
    assert config.admin.listen == ["127.0.0.1:9"]


def test_the_runtime_directory_may_be_written_in_the_admin_listener(tmp_path: Path) -> None:
    text = SMALLEST + '[admin]\nlisten = ["unix:$RUNTIME_DIRECTORY/a.sock", "127.0.0.1:9"]\n'
    assert load_text(tmp_path, text, RUNTIME_DIRECTORY="/run/g").admin.listen == ["unix:/run/g/a.sock", "127.0.0.1:9"]


def test_relative_paths_start_at_the_folder_of_the_file_and_not_at_the_current_one(here: Path, tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    made(folder / "secrets" / "legitmark", SECRET + "\n")
    text = """
[store]
path = "data/a.db"
[audit]
path = "../a.jsonl"
[sources.legitmark]
secrets = [{ file = "secrets/legitmark" }]
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
sinks = ["archive"]
"""
    config = load_text(folder, text)
    assert config.base == folder
    assert config.database == folder / "data" / "a.db"
    assert config.audit_log.resolve() == tmp_path / "a.jsonl"
    assert config.secret(SecretRef(file="secrets/legitmark")).reveal() == SECRET
    archive = config.sinks["archive"]
    assert isinstance(archive, JsonlConfig)
    assert archive.path == "events.jsonl", "the sink itself joins it with the folder that it is opened with"


@pytest.mark.parametrize("ref", ['env = "S"', 'file = "s"', 'credential = "s"'])
def test_a_secret_comes_from_a_variable_a_file_or_a_credential_without_its_line_break(ref: str, tmp_path: Path) -> None:
    made(tmp_path / "s", f"{SECRET}\r\n")
    config = load_text(tmp_path, f"[sources.a]\nsecrets = [{{ {ref} }}]\n", S=f"{SECRET}\n", CREDENTIALS_DIRECTORY=str(tmp_path))
    (secret,) = config.secrets.values()
    assert secret.reveal() == SECRET


@pytest.mark.parametrize(
    "ref",
    [
        'env = "S", file = "s"',
        'env = "S", credential = "s"',
        'file = "s", credential = "s"',
        'env = "S", file = "s", credential = "s"',
        "",
    ],
)
def test_a_secret_reference_without_exactly_one_place_is_refused(ref: str, tmp_path: Path) -> None:
    text = f"[sources.a]\nsecrets = [{{ {ref} }}]\n"
    assert "a secret must have exactly one place" in problems_of(tmp_path, text, S=SECRET)
    with pytest.raises(ConfigError, match="a secret must have exactly one place"):
        load(tmp_path / "gateway.toml", Environment({}), secrets=False)


def test_no_secret_is_read_if_secrets_are_skipped(tmp_path: Path) -> None:
    text = """
[admin]
token = { file = "no-such-file" }
[sources.legitmark]
secrets = [{ env = "NOT_SET" }, { file = "/no/such/file" }, { credential = "none" }]
[sinks.erp]
type = "http"
url = "https://erp.example.internal/"
secret = { env = "NOT_A_KEY" }
bearer = { env = "NOT_SET" }
headers = { "x-api-key" = { env = "NOT_SET" } }
[[routes]]
sinks = ["erp"]
"""
    config = load(made(tmp_path / "gateway.toml", text), Environment({"NOT_A_KEY": "no-key-but-secret"}), secrets=False)
    assert config.secrets == {}
    assert len(problems_of(tmp_path, text, NOT_A_KEY="no-key-but-secret").splitlines()) == 7


def test_a_secret_never_shows_its_value(tmp_path: Path) -> None:
    config = load_text(tmp_path)
    assert config.secret(SecretRef(env="LEGITMARK_SECRET")).reveal() == SECRET
    assert SECRET not in f"{config!r} {config!s} {config.secrets}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Tcp("127.0.0.1", 8080)),
        ("0.0.0.0:0", Tcp("0.0.0.0", 0)),
        ("localhost:65535", Tcp("localhost", 65535)),
        ("gateway.example.internal:80", Tcp("gateway.example.internal", 80)),
        ("[::1]:8080", Tcp("::1", 8080)),
        ("[::]:8080", Tcp("::", 8080)),
        ("unix:/run/g/admin.sock", Unix(Path("/run/g/admin.sock"))),
        ("unix:admin.sock", Unix(Path("/base/admin.sock"))),
        ("fd:admin", Inherited("admin")),
    ],
)
def test_an_address_is_host_and_port_or_unix_or_fd(text: str, address: Address) -> None:
    assert parse_address(text, Path("/base")) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "localhost",
        "localhost:",
        "127.0.0.1:65536",
        "127.0.0.1:80a",
        "127.0.0.1:-1",
        "::1:8080",
        "[::1]",
        "[::1]:",
        "[localhost]:80",
        "http://127.0.0.1:80",
        "127.0.0.1:８０",
        "127.0.0.1:80\n",
        "unix:",
        "fd:",
    ],
)
def test_other_texts_are_not_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|needs"):
        parse_address(text, Path("/base"))


@pytest.mark.parametrize("text", ["127.0.0.1:80", "[::1]:80", "unix:/run/g/admin.sock"])
def test_an_address_prints_as_it_is_written(text: str) -> None:
    assert str(parse_address(text, Path("/base"))) == text


def test_only_loopback_and_unix_addresses_are_local() -> None:
    local = ("127.0.0.1:80", "127.8.8.8:80", "[::1]:80", "localhost:80", "unix:/a")
    remote = ("0.0.0.0:80", "[::]:80", "10.0.0.1:80", "gateway.example.internal:80")
    assert all(is_local(parse_address(text, Path("/"))) for text in local)
    assert not any(is_local(parse_address(text, Path("/"))) for text in remote)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that this test may not read. The test runs without the rights of root, who may read everything."""
    folder, me = tmp_path / "closed", os.geteuid()
    folder.mkdir(mode=0o000)
    if me == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(me)
    folder.chmod(0o700)


def test_a_file_in_a_folder_that_may_not_be_read_is_named_with_what_to_do(closed: Path) -> None:
    said = rf"{closed}/gateway.toml: .* \(be root, or join the group of the folder\)"
    with pytest.raises(ConfigError, match=said):
        find(None, Environment({"CONFIGURATION_DIRECTORY": str(closed)}))
    with pytest.raises(ConfigError, match=said):
        find(closed / "gateway.toml", Environment({}))

"""The tables [store] and [node] for PostgreSQL: what they mean, what `check` warns of, and what a reload makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.diff import differences, until_restart
from gateway.core.errors import ConfigError
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

TOML = """
[store]
url = { env = "DATABASE_URL" }
[sources.legitmark]
secrets = [{ env = "LEGITMARK_SECRET" }]
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
sinks = ["archive"]
"""
URL = "postgresql://gateway:pass-8Xc4-word@db.example.internal/gateway?sslmode=verify-full"
REF = SecretRef(env="DATABASE_URL")


def loaded(folder: Path, text: str = TOML, url: str = URL, *, secrets: bool = True) -> Config:
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, Environment({"LEGITMARK_SECRET": SECRET, "DATABASE_URL": url}), secrets=secrets)


def changed(folder: Path, text: str, url: str = URL) -> list[str]:
    return [str(one) for one in differences(loaded(folder), loaded(folder, text, url))]


def test_a_url_is_enough(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert config.warnings == ()
    assert config.store.url == REF
    assert config.secret(REF).reveal() == URL
    assert (config.store.schema, config.store.durability) == ("gateway", "primary")
    assert (config.node.name, float(config.node.lease)) == (None, 20.0)


def test_the_own_files_of_a_node_have_their_place_without_a_database_file(tmp_path: Path) -> None:
    assert loaded(tmp_path).database == tmp_path / "gateway.db"


def test_it_resolves_no_url_where_no_secret_may_be_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, url="", secrets=False).secrets == {}


def test_a_connection_that_may_be_read_on_the_way_is_a_warning(tmp_path: Path) -> None:
    (problem,) = loaded(tmp_path, url=URL.partition("?")[0]).warnings
    assert problem.place == "[store] url"
    assert problem.wrong == "the secret of env DATABASE_URL permits a connection without TLS to another machine"


def test_keys_for_several_nodes_are_a_warning_with_a_file(tmp_path: Path) -> None:
    text = TOML.replace('url = { env = "DATABASE_URL" }', 'schema = "events"\ndurability = "replicated"\n[node]\nname = "gw1"')
    config = loaded(tmp_path, f'{text}[[tests]]\nname = "x"\nevent = {{}}\nsinks = ["archive"]\n')
    assert [problem.place for problem in config.warnings] == ["[store] schema", "[store] durability", "[node] name"]
    assert {problem.wrong for problem in config.warnings} == {"has no effect without [store] url"}


def test_a_wrong_url_is_refused_without_a_word_of_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, url="mysql://gateway:pass-8Xc4-word@db.example.internal/orders-9Kd2-of-this-test")
    (problem,) = refused.value.problems
    assert problem.wrong == "the secret of env DATABASE_URL is not a URL of PostgreSQL"
    assert "pass-8Xc4-word" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[sources", 'schema = "events"\n[sources', 'changed [store] schema: "gateway" -> "events" (needs a restart)'),
        ("[sources", 'durability = "replicated"\n[sources', 'changed [store] durability: "primary" -> "replicated" (needs a'),
        ("[sources", '[node]\nname = "gw1"\n[sources', 'changed [node] name: none -> "gw1" (needs a restart)'),
        ("[sources", '[node]\nlease = "30s"\n[sources', "changed [node] lease: 20s -> 30s (needs a restart)"),
        ('url = { env = "DATABASE_URL" }', "", "changed [store] url: env DATABASE_URL -> none (needs a restart)"),
    ],
)
def test_a_reload_changes_neither_the_database_nor_the_node(old: str, new: str, said: str, tmp_path: Path) -> None:
    (one,) = changed(tmp_path, TOML.replace(old, new))
    assert one.startswith(said)


def test_another_url_in_the_same_place_waits_for_a_restart_and_is_not_shown(tmp_path: Path) -> None:
    (one,) = changed(tmp_path, TOML, URL.replace("8Xc4", "9Zk1"))
    assert one == "changed [store] url: env DATABASE_URL -> another secret in the same place (needs a restart)"


def test_after_a_reload_the_old_database_and_the_old_name_are_in_use(tmp_path: Path) -> None:
    old = loaded(tmp_path)
    new = loaded(tmp_path, TOML.replace('url = { env = "DATABASE_URL" }', 'path = "other.db"\n[node]\nname = "gw1"'))
    stays = until_restart(old, new)
    assert (stays.store.url, stays.node, stays.database) == (REF, old.node, old.database)
    assert stays.secret(REF).reveal() == URL

"""The digest by which nodes see that their configurations differ: it has what they share, and nothing of a node's own."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.agreement import agreement_hash
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

TOML = """
[store]
url = { env = "DATABASE_URL" }
[sources.legitmark]
secrets = [{ env = "LEGITMARK_SECRET" }]
[sinks.erp]
type = "http"
url = "https://erp.example.internal/hook"
timeout = "10s"
on_stale = "deliver"
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
name = "verdicts"
match = { milestone = "authentic" }
sinks = ["erp"]
[[routes]]
name = "all"
sinks = ["archive"]
"""


def digest(folder: Path, text: str = TOML, secret: str = SECRET) -> str:
    return agreement_hash(loaded(folder, text, secret))


def loaded(folder: Path, text: str, secret: str) -> Config:
    folder.mkdir(exist_ok=True)
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, Environment({"LEGITMARK_SECRET": secret, "DATABASE_URL": "postgresql:///gateway"}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[sources.legitmark]", '[node]\nname = "gw2"\n[sources.legitmark]'),
        ("[sources.legitmark]", '[server]\nlisten = ["127.0.0.1:9000"]\n[sources.legitmark]'),
        ("[sources.legitmark]", '[audit]\npath = "elsewhere.jsonl"\n[sources.legitmark]'),
        ("[[routes]]\nname", "# a comment\n[[routes]]\nname"),
        ('"10s"', '"10000ms"'),
    ],
)
def test_what_is_a_nodes_own_changes_nothing(old: str, new: str, tmp_path: Path) -> None:
    assert digest(tmp_path, TOML.replace(old, new)) == digest(tmp_path)


def test_another_folder_and_another_value_of_a_secret_change_nothing(tmp_path: Path) -> None:
    other = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    assert digest(tmp_path / "b", secret=other) == digest(tmp_path / "a")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"10s"', '"11s"'),
        ('sinks = ["erp"]', 'sinks = ["erp", "archive"]'),
        ("authentic", "counterfeit"),
        ("[sources.legitmark]", '[sources.legitmark]\ntolerance = "6m"'),
        ("[store]", '[store]\nretention = "91d"'),
        ('[[routes]]\nname = "verdicts"', '[[watch]]\nname = "slow"\nstate = "QC"\nafter = "1h"\n[[routes]]\nname = "verdicts"'),
    ],
)
def test_what_all_nodes_have_to_share_changes_it(old: str, new: str, tmp_path: Path) -> None:
    assert digest(tmp_path, TOML.replace(old, new)) != digest(tmp_path)


def test_the_order_of_the_routes_counts_and_that_of_the_sinks_does_not(tmp_path: Path) -> None:
    head, verdicts, rest = TOML.split("[[routes]]")
    assert digest(tmp_path, "[[routes]]".join((head, rest, verdicts))) != digest(tmp_path)
    before, erp, archive = (
        head.partition("[sinks.erp]")[0],
        head[head.index("[sinks.erp]") : head.index("[sinks.archive]")],
        head[head.index("[sinks.archive]") :],
    )
    swapped = "[[routes]]".join((before + archive + erp, verdicts, rest))
    assert digest(tmp_path, swapped) == digest(tmp_path)

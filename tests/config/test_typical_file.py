"""A typical configuration with every type of sink loads, shows the documented defaults, and accepts every documented key."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.settings import AdminSettings, ServerSettings, SourceSettings, StoreSettings
from gateway.core.errors import ConfigError
from gateway.core.events import IDENTITY
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration, Rate, Size
from gateway.sinks.base import Breaker
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.slack.config import SlackConfig
from tests.config.typical_file import TYPICAL, added, load_text


def test_it_loads_with_its_secrets(tmp_path: Path) -> None:
    config = load_text(TYPICAL, tmp_path)
    assert list(config.sinks) == ["erp", "fraud_desk", "customer_care", "archive"]
    assert len(config.secrets) == 6
    assert config.secret(SecretRef(credential="erp-token")).reveal() == "erp-token-5Nc2"


def test_the_values_that_it_shows_are_the_defaults(tmp_path: Path) -> None:
    config = load_text(TYPICAL, tmp_path)
    assert config.server == ServerSettings()
    assert config.admin == AdminSettings()
    assert config.store == StoreSettings(path="gateway.db")
    assert config.database == tmp_path / "gateway.db"
    assert config.audit_log == tmp_path / "audit.jsonl"
    legitmark = config.sources["legitmark"]
    assert legitmark == SourceSettings(path="/webhooks/legitmark", secrets=legitmark.secrets, identity=IDENTITY)
    erp = config.sinks["erp"]
    assert isinstance(erp, HttpConfig)
    assert erp == HttpConfig(url=erp.url, secret=erp.secret, bearer=erp.bearer, headers={"x-tenant": "acme"})
    care = config.sinks["customer_care"]
    assert isinstance(care, EmailConfig)
    assert (care.port, care.security) == (EmailConfig(host="", sender="").port, EmailConfig(host="", sender="").security)


def test_the_defaults_are_the_documented_ones() -> None:
    assert ServerSettings() == ServerSettings(listen=["127.0.0.1:8080"], max_body=Size(262_144), drain=Duration(20))
    assert AdminSettings().listen == ["127.0.0.1:8081"]
    assert StoreSettings() == StoreSettings(path=None, retention=Duration(90 * 86400), min_free=Size(256 * 1024**2))
    assert SourceSettings() == SourceSettings(tolerance=Duration(300), verify="standard_webhooks", secrets=[], identity={})
    http = HttpConfig(url="")
    assert http.retry == [Duration(seconds) for seconds in (0, 5, 300, 1800, 7200)]
    assert (http.timeout, http.give_up_after) == (Duration(30), Duration(7 * 86400))
    assert (http.ordering, http.reject_on, http.allow_networks) == ("none", [], None)
    assert http.breaker == Breaker(failures=3, probe=Duration(30))
    sinks = (http, SlackConfig(), EmailConfig(host="", sender=""), JsonlConfig(path=""))
    assert [sink.concurrency for sink in sinks] == [16, 1, 2, 1]
    assert [sink.rate for sink in sinks] == [None, Rate("1/s"), None, None]


def test_none_of_its_keys_is_without_effect(tmp_path: Path) -> None:
    assert [problem for problem in load_text(TYPICAL, tmp_path).warnings if problem.wrong == "has no effect yet"] == []


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("[admin]", 'token = { env = "LEGITMARK_OLD" }'),
        ("[sinks.erp]", 'rate = "50/s"'),
        ("[sinks.erp]", 'allow_networks = ["10.0.0.0/8"]'),
        ("[sinks.fraud_desk]", 'token = { env = "LEGITMARK_OLD" }'),
        ("[sinks.fraud_desk]", 'channel = "C0123"'),
        ("[sinks.fraud_desk]", 'allow_networks = ["10.0.0.0/8"]'),
        ("[sinks.customer_care]", 'allow_networks = ["10.0.0.0/8"]'),
        *(
            (f"[sinks.{sink}]", line)
            for sink in ("fraud_desk", "customer_care", "archive")
            for line in (
                'timeout = "30s"',
                'retry = ["0s", "5s", "5m", "30m", "2h"]',
                "concurrency = 1",
                'rate = "50/s"',
                'ordering = "sr"',
                'breaker = { failures = 3, probe = "30s" }',
                'give_up_after = "7d"',
            )
        ),
        ("[[routes]]", 'unless = { "state.supplement" = "COMPLETE" }'),
        ("[[routes]]", 'source = "legitmark"'),
        ("[[routes]]", 'source = ["legitmark"]'),
        ("[[routes]]", "final = true"),
        ("[[routes]]", "fallback = true"),
        ("[[tests]]", 'without = ["reference_id"]'),
        ("[[tests]]", 'routes = ["verdicts"]'),
        ("[[tests]]", 'not_sinks = ["archive"]'),
    ],
)
def test_each_further_documented_key_is_accepted(table: str, line: str, tmp_path: Path) -> None:
    load_text(added(table, line), tmp_path)


@pytest.mark.parametrize("header", ['"x-tenant" = "acme"', '"x-api-key" = { credential = "erp-token" }'])
def test_the_value_of_a_header_may_be_a_string_or_a_secret(header: str, tmp_path: Path) -> None:
    config = load_text(TYPICAL.replace('"x-tenant" = "acme"', header), tmp_path)
    erp = config.sinks["erp"]
    assert isinstance(erp, HttpConfig)
    assert erp.headers in ({"x-tenant": "acme"}, {"x-api-key": SecretRef(credential="erp-token")})


@pytest.mark.parametrize("match", ["[{ milestone = 'authentic' }, { milestone = 'counterfeit' }]", "{ milestone = 'authentic' }"])
def test_match_is_one_table_or_a_list_of_them(match: str, tmp_path: Path) -> None:
    text = TYPICAL.replace('match = { event_type = "state_change", state = { primary = "COMPLETE" } }', f"match = {match}")
    assert text != TYPICAL
    assert len(load_text(text, tmp_path).routes[0].match) == match.count("milestone")


def test_a_route_may_send_to_no_sink_on_purpose(tmp_path: Path) -> None:
    config = load_text(TYPICAL.replace('sinks = ["erp", "fraud_desk"]\n\n[[tests]]', "sinks = []\n\n[[tests]]"), tmp_path)
    assert config.routes[0].sinks == ()


@pytest.mark.parametrize("name", ["a", "a" * 48, "erp-2_b"])
def test_a_name_has_one_to_48_characters(name: str, tmp_path: Path) -> None:
    assert name in load_text(TYPICAL.replace("[sinks.archive]", f"[sinks.{name}]"), tmp_path).sinks


@pytest.mark.parametrize("name", ["a" * 49, "2b", "-a", "_a", "Erp", '"a b"', '""', '"a.b"', '"é"', '"a\\n"'])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be a name"):
        load_text(TYPICAL.replace("[sinks.archive]", f"[sinks.{name}]"), tmp_path)


@pytest.mark.parametrize("address", ["0.0.0.0:8081", "[::]:8081", "10.0.0.5:8081", "gateway.example.internal:8081"])
def test_an_admin_listener_that_other_machines_can_reach_needs_a_token(address: str, tmp_path: Path) -> None:
    text = TYPICAL.replace('["127.0.0.1:8081"]', f'["{address}"]')
    with pytest.raises(ConfigError, match=r"\[admin\] token"):
        load_text(text, tmp_path)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8081", "127.8.0.1:8081", "[::1]:8081", "localhost:8081", "unix:/run/g/admin.sock"]
)
def test_an_admin_listener_on_loopback_or_a_unix_socket_needs_no_token(address: str, tmp_path: Path) -> None:
    config = load_text(TYPICAL.replace('["127.0.0.1:8081"]', f'["{address}"]'), tmp_path)
    assert config.admin.token is None

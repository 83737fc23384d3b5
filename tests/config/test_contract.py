"""Section 1 of the contract, to the letter: its example loads, its defaults are the structs', its keys are accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.settings import AdminSettings, ServerSettings, SourceSettings, StoreSettings
from gateway.core.errors import ConfigError
from gateway.core.events import IDENTITY
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration, Rate, Size
from gateway.host.environment import Environment
from gateway.sinks.base import Breaker
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.slack.config import SlackConfig
from tests.support.webhooks import SECRET

EXAMPLE = """
[server]
listen = ["127.0.0.1:8080"]          # "host:port", "unix:/path", or "fd:NAME" for a socket from systemd
max_body = "256KiB"
drain = "20s"                        # how long a stop waits for what is in flight

[admin]
listen = ["127.0.0.1:8081"]          # health, metrics, API; under systemd "unix:$RUNTIME_DIRECTORY/admin.sock", 0660
# token = { file = "..." }           # needed unless loopback or unix: without it an error

[store]
path = "gateway.db"                  # default $STATE_DIRECTORY/gateway.db, else beside the file
retention = "90d"                    # of finished messages (none queued, none dead), and how long a duplicate is known
min_free = "256MiB"

[audit]
path = "audit.jsonl"                 # default $LOGS_DIRECTORY/audit.jsonl, else beside the file

[sources.legitmark]
path = "/webhooks/legitmark"
secrets = [{ credential = "legitmark" }, { env = "LEGITMARK_OLD" }]      # any may verify: rotation
tolerance = "5m"
verify = "standard_webhooks"         # or "none", which must be written out
[sources.legitmark.identity]         # without "timestamp" they are exactly Legitmark's published keys; [] turns it off
state_change   = ["sr_uuid", "state.primary", "state.supplement", "timestamp"]
media_rejected = ["sr_uuid", "timestamp"]
invalidate_sr  = ["sr_uuid", "timestamp"]

[sinks.erp]
type = "http"                        # http | slack | email | jsonl
url = "https://erp.internal/hooks/legitmark"
secret = { credential = "erp" }      # signs what we send, Standard Webhooks
bearer = { credential = "erp-token" }
headers = { "x-tenant" = "acme" }    # a value may be a secret
timeout = "30s"
retry = ["0s", "5s", "5m", "30m", "2h"]     # Legitmark's own schedule
reject_on = []                       # status codes that are final, e.g. [410]
concurrency = 16                     # email 2, slack 1, jsonl 1
# rate = "50/s"                      # none; slack "1/s"
ordering = "none"                    # or "sr"
breaker = { failures = 3, probe = "30s" }
give_up_after = "7d"
# allow_networks = ["10.0.0.0/8"]    # default: all but link-local, metadata, multicast and unspecified addresses

[sinks.fraud_desk]
type = "slack"
webhook_url = { credential = "slack" }      # any http(s) URL; or: token = {...} and channel = "C0123"

[sinks.customer_care]
type = "email"
host = "smtp.internal"
port = 587
security = "starttls"                # or "tls", or "none", which must be written out
username = "gateway"
password = { credential = "smtp" }
sender = "Legitmark gateway <gateway@example.com>"
recipients = ["care@example.com"]

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
name = "verdicts"
match = { event_type = "state_change", state = { primary = "COMPLETE" } }
sinks = ["erp", "fraud_desk"]

[[tests]]
name = "a counterfeit reaches the fraud desk"
event = { event_type = "state_change", state = { primary = "COMPLETE", supplement = "REJECTED" } }
sinks = ["erp", "fraud_desk"]
"""
CREDENTIALS = {
    "legitmark": SECRET,
    "erp": SECRET,
    "erp-token": "erp-token-5Nc2",
    "slack": "https://hooks.example.com/services/T0/B0/x",
    "smtp": "correct-horse",
}


def load_text(text: str, folder: Path) -> Config:
    """With all the secrets that the contract's example names."""
    credentials = folder / "credentials"
    credentials.mkdir()
    for name, value in CREDENTIALS.items():
        (credentials / name).write_text(value + "\n")
    file = folder / "gateway.toml"
    file.write_text(text)
    return load(file, Environment({"CREDENTIALS_DIRECTORY": str(credentials), "LEGITMARK_OLD": SECRET}))


def added(table: str, line: str) -> str:
    """The example with a line at the beginning of one of its tables."""
    header = f"\n{table}"
    assert EXAMPLE.count(header) == 1
    at = EXAMPLE.index("\n", EXAMPLE.index(header) + 1)
    return f"{EXAMPLE[:at]}\n{line}{EXAMPLE[at:]}"


def test_the_example_of_the_contract_loads_given_its_secrets(tmp_path: Path) -> None:
    config = load_text(EXAMPLE, tmp_path)
    assert list(config.sinks) == ["erp", "fraud_desk", "customer_care", "archive"]
    assert len(config.secrets) == 6
    assert config.secret(SecretRef(credential="erp-token")).reveal() == "erp-token-5Nc2"


def test_the_values_of_the_example_are_the_defaults(tmp_path: Path) -> None:
    config = load_text(EXAMPLE, tmp_path)
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


def test_the_defaults_are_the_ones_of_the_contract() -> None:
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


def test_each_key_of_the_example_whose_mechanism_is_not_built_yet_is_answered_with_a_warning(tmp_path: Path) -> None:
    assert [problem for problem in load_text(EXAMPLE, tmp_path).warnings if problem.wrong == "has no effect yet"] == []


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
def test_each_further_key_that_the_contract_names_is_accepted(table: str, line: str, tmp_path: Path) -> None:
    load_text(added(table, line), tmp_path)


@pytest.mark.parametrize("header", ['"x-tenant" = "acme"', '"x-api-key" = { credential = "erp-token" }'])
def test_the_value_of_a_header_may_be_a_text_or_a_secret(header: str, tmp_path: Path) -> None:
    config = load_text(EXAMPLE.replace('"x-tenant" = "acme"', header), tmp_path)
    erp = config.sinks["erp"]
    assert isinstance(erp, HttpConfig)
    assert erp.headers in ({"x-tenant": "acme"}, {"x-api-key": SecretRef(credential="erp-token")})


@pytest.mark.parametrize("match", ["[{ milestone = 'authentic' }, { milestone = 'counterfeit' }]", "{ milestone = 'authentic' }"])
def test_match_is_one_table_or_a_list_of_them(match: str, tmp_path: Path) -> None:
    text = EXAMPLE.replace('match = { event_type = "state_change", state = { primary = "COMPLETE" } }', f"match = {match}")
    assert text != EXAMPLE
    assert len(load_text(text, tmp_path).routes[0].match) == match.count("milestone")


def test_sinks_may_be_empty_to_say_nobody_on_purpose(tmp_path: Path) -> None:
    config = load_text(EXAMPLE.replace('sinks = ["erp", "fraud_desk"]\n\n[[tests]]', "sinks = []\n\n[[tests]]"), tmp_path)
    assert config.routes[0].sinks == ()


@pytest.mark.parametrize("name", ["a", "a" * 48, "erp-2_b"])
def test_a_name_has_one_to_48_characters(name: str, tmp_path: Path) -> None:
    assert name in load_text(EXAMPLE.replace("[sinks.archive]", f"[sinks.{name}]"), tmp_path).sinks


@pytest.mark.parametrize("name", ["a" * 49, "2b", "-a", "_a", "Erp", '"a b"', '""', '"a.b"', '"é"', '"a\\n"'])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can not be a name"):
        load_text(EXAMPLE.replace("[sinks.archive]", f"[sinks.{name}]"), tmp_path)


@pytest.mark.parametrize("address", ["0.0.0.0:8081", "[::]:8081", "10.0.0.5:8081", "gateway.example.internal:8081"])
def test_an_admin_listener_that_others_can_reach_needs_a_token(address: str, tmp_path: Path) -> None:
    text = EXAMPLE.replace('["127.0.0.1:8081"]', f'["{address}"]')
    with pytest.raises(ConfigError, match=r"\[admin\] token"):
        load_text(text, tmp_path)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8081", "127.8.0.1:8081", "[::1]:8081", "localhost:8081", "unix:/run/g/admin.sock"]
)
def test_an_admin_listener_on_loopback_or_unix_needs_none(address: str, tmp_path: Path) -> None:
    config = load_text(EXAMPLE.replace('["127.0.0.1:8081"]', f'["{address}"]'), tmp_path)
    assert config.admin.token is None

"""A typical configuration, with every type of sink and most keys at their defaults, and its secrets."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Config, load
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

TYPICAL = """
[server]
listen = ["127.0.0.1:8080"]          # "host:port", "unix:/path", or "fd:NAME" for a socket from systemd
max_body = "256KiB"
drain = "20s"                        # how long a stop waits for requests and deliveries in progress

[admin]
listen = ["127.0.0.1:8081"]          # health, metrics, API; under systemd "unix:$RUNTIME_DIRECTORY/admin.sock", 0660
# token = { file = "..." }           # required unless all addresses are loopback or unix

[store]
path = "gateway.db"                  # default $STATE_DIRECTORY/gateway.db, else next to the file
retention = "90d"                    # of finished messages (none queued, none dead), and how long duplicates are recognised
min_free = "256MiB"

[audit]
path = "audit.jsonl"                 # default $LOGS_DIRECTORY/audit.jsonl, else next to the file

[sources.legitmark]
path = "/webhooks/legitmark"
secrets = [{ credential = "legitmark" }, { env = "LEGITMARK_OLD" }]      # any of them may verify, for rotation
tolerance = "5m"
verify = "standard_webhooks"         # or "none", which must be written out
[sources.legitmark.identity]         # without "timestamp" they are exactly Legitmark's published keys; [] turns it off
state_change   = ["sr_uuid", "state.primary", "state.supplement", "timestamp"]
media_rejected = ["sr_uuid", "timestamp"]
invalidate_sr  = ["sr_uuid", "timestamp"]

[sinks.erp]
type = "http"                        # http | slack | email | jsonl
url = "https://erp.internal/hooks/legitmark"
secret = { credential = "erp" }      # signs each request, Standard Webhooks
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
    """Load a configuration, with all the secrets that the typical one names."""
    credentials = folder / "credentials"
    credentials.mkdir()
    for name, value in CREDENTIALS.items():
        (credentials / name).write_text(value + "\n")
    file = folder / "gateway.toml"
    file.write_text(text)
    return load(file, Environment({"CREDENTIALS_DIRECTORY": str(credentials), "LEGITMARK_OLD": SECRET}))


def added(table: str, line: str) -> str:
    """The typical configuration with a line at the beginning of one of its tables."""
    header = f"\n{table}"
    assert TYPICAL.count(header) == 1
    at = TYPICAL.index("\n", TYPICAL.index(header) + 1)
    return f"{TYPICAL[:at]}\n{line}{TYPICAL[at:]}"

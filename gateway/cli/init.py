"""`gateway init`: writes a configuration to start from, and the schema by which editors complete it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from gateway.cli.errors import Unwritable, UsageError

SCHEMA = "gateway.schema.json"

TEMPLATE = f"""\
#:schema ./{SCHEMA}
# The configuration of legitmark-gateway: where webhooks come from, where events go, and by which rules.
# `gateway check` says what is wrong with it, `gateway route counterfeit` where an event would go, and why.
# To use a commented block, remove the "# " from each of its lines.

# Where webhooks arrive. Legitmark sends over HTTPS: name a certificate here, or put a reverse proxy in front of the gateway.
# [server]
# listen = ["127.0.0.1:8080"]
# tls = {{ certificate = "/path/fullchain.pem", key = "/path/privkey.pem" }}

# Legitmark posts its webhooks to https://<your host>/webhooks/legitmark.
# The signing secret from its webhook page ("whsec_...") never goes into this file, only the place where it is stored:
# {{ env = "NAME" }}, {{ file = "/path" }}, or {{ credential = "name" }} of systemd.
[sources.legitmark]
secrets = [{{ env = "LEGITMARK_SECRET" }}]
# silent_after = "12h"    # people are told if nothing has come for so long

# A file beside this one: each event is a line of JSON.
[sinks.archive]
type = "jsonl"
path = "events.jsonl"

# One of your systems: it gets the body byte for byte, signed with its own secret. The manual shows every type of sink.
# [sinks.erp]
# type = "http"
# url = "https://erp.example.internal/hooks/legitmark"
# secret = {{ env = "ERP_SECRET" }}
# ordering = "sr"         # the events of one service request go one after the other
# on_stale = "annotate"   # a late event says so in the header x-gateway-stale; "suppress" keeps it back
# failing_after = "1h"    # people are told if the system fails for so long

# A channel that people read: an incoming webhook of Slack.
# [sinks.desk]
# type = "slack"
# webhook_url = {{ env = "DESK_WEBHOOK" }}

# Every route that matches applies; an event goes once to each sink that these routes name.
[[routes]]
name = "everything is archived"
sinks = ["archive"]

# [[routes]]
# name = "verdicts"
# match = {{ milestone = ["authentic", "counterfeit"] }}
# sinks = ["erp"]

# [[routes]]
# name = "photos to redo"
# match = {{ milestone = ["qc_rejected", "needs_resubmission"] }}
# join = "30s"            # the rejection and its reasons go out as one message
# sinks = ["desk"]

# The gateway's own events: a delivery is dead, a sink fails, a source is silent, a message is of an unknown kind, a service
# request does not move on or is not what Legitmark's API says; and once a day the last seal of the audit log. They go only
# through routes with source = "gateway". Name a sink here whose messages people read.
[[routes]]
name = "somebody is told"
source = "gateway"
sinks = ["archive"]

# [[routes]]
# name = "the desk looks after service requests"
# source = "gateway"
# match = {{ event_type = ["gateway.sr_stalled", "gateway.sr_differs", "gateway.source_silent"] }}
# sinks = ["desk"]

# How long a service request may stay in a state; then a gateway.sr_stalled event tells people, and again after each `again`.
# [[watch]]
# name = "photos wait for more than 4 h"
# state = "QC/PENDING"
# after = "4h"
# again = "1d"

# After an outage, Legitmark's API tells which service requests have moved on meanwhile; `gateway reconcile` asks it at any time.
# [reconcile]
# url = "https://api.example.com/api/v2/sr"
# api_key = {{ env = "LEGITMARK_API_KEY" }}

# The results that the routes must have; `gateway test` checks them.
[[tests]]
name = "photos that were submitted are archived"
event = {{ event_type = "state_change", state = {{ primary = "QC", supplement = "PENDING" }} }}
sinks = ["archive"]

# [[tests]]
# name = "a counterfeit reaches the ERP"
# event = {{ event_type = "state_change", state = {{ primary = "COMPLETE", supplement = "REJECTED" }} }}
# sinks = ["archive", "erp"]
"""


def init(
    file: Path = Path("gateway.toml"),
    /,
    *,
    force: Annotated[
        bool, Parameter(negative="", help="Overwrite an existing configuration; otherwise that is exit code 2.")
    ] = False,
    schema: Annotated[
        bool, Parameter(negative="", help=f"Write only {SCHEMA}: for an existing file, or after an update.")
    ] = False,
) -> int:
    """Write a commented configuration to start from, and beside it gateway.schema.json, by which an editor completes it.

    Exit codes: 0 written, 2 the configuration exists already (use --force), 74 a file can't be written.

    Example: gateway init gateway.toml

    Parameters
    ----------
    file
        The file to write; it holds no secret. An existing schema is always overwritten.
    """
    if not file.name or file.is_dir():
        raise UsageError(f'"{file}" is a folder: name the file, {quote(str(file / "gateway.toml"))}')
    beside = file.with_name(SCHEMA)
    if not schema:
        _write(file, TEMPLATE, over=force)
    _write(beside, (files("gateway.config") / SCHEMA).read_text(encoding="utf-8"), over=True)
    if schema:
        print(f"wrote {beside}; the first line of a file beside it says: #:schema ./{SCHEMA}")
        return 0
    option = "" if file == Path("gateway.toml") else f" --config {quote(str(file))}"
    print(f"wrote {file}, and for your editor {beside}. Next:\n")
    for command, why in (
        ("export LEGITMARK_SECRET=whsec_...", "the signing secret of Legitmark's webhook page"),
        (f"gateway check{option}", "is it right?"),
        (f"gateway serve{option}", "run it"),
        (f"gateway send counterfeit{option}", "in another terminal: a sample event, signed with your secret"),
    ):
        print(f"  {command:<{36 + len(option)}}  # {why}")
    print("\nTo develop a receiver you need no configuration: `gateway play` shows what comes, and why a signature fits or not.")
    return 0


def _write(file: Path, text: str, *, over: bool) -> None:
    try:
        with file.open("w" if over else "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists already: name another file, or overwrite it with --force") from None
    except OSError as error:
        raise Unwritable(f"{file} can't be written: {error.strerror}") from None

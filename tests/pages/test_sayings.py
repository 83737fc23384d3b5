"""The reasons on Japanese pages: every text of the gateway that a page may show has a translation, and all others are quoted."""

from __future__ import annotations

import re

import pytest

from gateway.ingest.source_watch import WHAT_TO_DO
from gateway.sinks.slack.error_codes import SINK_WIDE, remedy_of
from gateway.web.pages.sayings import Sayings, said, sayings
from tests.pages.messages_in_code import ROOT, messages

JAPANESE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
QUOTED = re.compile("“[^”]*”|「[^」]*」")
WORDS = re.compile(r"[A-Za-z']{2,} [A-Za-z']{2,}")
RAISED = ("Mistake", "ValueError", "Unknown", "TooManyJobs", "StoreError", "StoreCorrupt", "StoreFailed")
OUTCOMES = ("Retry", "Reject", "Defer", "Delivered")
NOT_SHOWN = {
    "gateway/sinks/net/proxy.py": ("CONNECT", "Host:", "User-Agent:", "Proxy-Authorization:", "proxy {x1}"),
    "gateway/sinks/email/answers.py": ("AUTH extension", "authentication method"),
    "gateway/sinks/slack/answers.py": ("auth.test", "token accepted", "a bot", "a workspace"),
    "gateway/sinks/slack/sink.py": ("application/json", "the configuration is refused", "Bearer"),
    "gateway/core/reconciliation.py": ("Legitmark's API says", "knows "),
    "gateway/app/readiness.py": ("stopping:", "{x0}: webhooks on", "not ready:", ", {x1} deliveries"),
}
"""The beginnings of texts in these modules that are no reasons: protocols, probes, the line for systemd."""
PARTS = {
    "{x0}; {x2}",
    "{x0} (SMTP {x2})",
    "{x0}: {x2}",
    "{x0}:{x2}: {x4}",
    "{x0} in time",
    "no answer",
    "recipients, sender and what the server lets this login send",
    "sender and what the server lets this login send",
    "host, port and what the server lets this machine send",
    "refuses the login in the key proxy",
    "asks for a login; write it into the key proxy",
    "{x0} refused {x2} of {x4} recipients: {x6}{x7}",
    "{x0}; it is too big for them",
    " (+{x1} more)",
    "the proxy {x1} {x3} ({x5})",
    "no connection through the proxy {x1}",
    "check {x1}",
}
"""Texts of which longer ones are made; those are in `MADE`."""
MADE = [
    "no connection through the proxy proxy.internal:3128 in time",
    "the proxy proxy.internal:3128 refuses the login in the key proxy (HTTP 407)",
    "the proxy proxy.internal:3128 asks for a login; write it into the key proxy (HTTP 407)",
    "mail.internal:25 refused 5 of 9 recipients: a@example.com (SMTP 550), b@example.com (SMTP 551) (+3 more);"
    " check recipients, sender and what the server lets this login send",
    "mail.internal:25 refused 1 of 1 recipients: a@example.com (SMTP 552); it is too big for them",
    "mail.internal:25 answered the sender with SMTP 550; check sender and what the server lets this login send",
    "mail.internal:25 refuses mail: SMTP 554; check host, port and what the server lets this machine send",
    "mail.internal:25 answered the sender with SMTP 552: the mail is too big for it",
    "erp.internal:443: Connection refused",
    "the proxy: proxy.internal:3128: No route to host",
    "HTTP 429 Too Many Requests: Slack says ratelimited",
    "as plain text, since Slack says invalid_blocks; the database did not store its thread: the next event may begin another",
    "the certificate of erp.internal was refused: self-signed certificate",
    "/var/lib/events.jsonl: not on the disk: No space left on device",
    "this is no event: the body is not JSON",
]
WHOLE = (
    *("gateway/sinks/net/http_failures.py", "gateway/sinks/net/proxy.py", "gateway/sinks/email/answers.py"),
    *("gateway/sinks/slack/error_codes.py", "gateway/sinks/slack/answers.py", "gateway/sinks/slack/sink.py"),
    *("gateway/sinks/jsonl/sink.py", "gateway/web/play/forwarding.py", "gateway/app/readiness.py"),
    *("gateway/store/sqlite/sqlite_errors.py", "gateway/delivery/attempt.py"),
    *("gateway/core/reconciliation.py", "gateway/reconcile/reconciler.py"),
)
"""Modules of which every text is a reason that a page may show."""
CALLS: dict[str, tuple[str, ...]] = {
    "gateway/sinks/net/http_client.py": OUTCOMES,
    "gateway/store/sqlite/file_watch.py": RAISED,
    "gateway/store/committing.py": RAISED,
    "gateway/store/sqlite/connection.py": RAISED,
    "gateway/store/sqlite/store.py": RAISED,
    "gateway/store/sqlite/reading.py": RAISED,
    "gateway/ingest/receive.py": RAISED,
    "gateway/reconcile/job_list.py": ("Reconciled",),
    "gateway/observability/audit.py": RAISED,
    "gateway/control/interventions.py": RAISED,
    "gateway/control/act_jobs.py": RAISED,
    "gateway/control/drills.py": RAISED,
    "gateway/control/sampling.py": RAISED,
    "gateway/control/rule_trial.py": RAISED,
    "gateway/control/browse.py": RAISED,
    "gateway/control/stories.py": RAISED,
    "gateway/control/ids.py": RAISED,
    "gateway/core/events.py": ("Undecodable",),
    "gateway/web/admin/request_json.py": RAISED,
    "gateway/web/pages/asking.py": RAISED,
}
CALLS |= {str(path.relative_to(ROOT)): RAISED for path in (ROOT / "gateway/web/pages/views").glob("*.py")}


def english_in(text: str) -> list[str]:
    """Return English words beside one another that stand outside of quotation marks."""
    return WORDS.findall(QUOTED.sub("", text))


def without_translation(texts: list[str]) -> list[str]:
    """Return the templates that have no translation, whatever is put into them."""
    filled = [re.sub(r"\{x(\d+)\}", r"x\1", text) for text in texts if text not in PARTS]
    return [text for text in filled if (found := sayings("ja").translated(text)) is None or english_in(found)]


@pytest.mark.parametrize("module", WHOLE)
def test_each_reason_that_a_module_gives_has_a_translation(module: str) -> None:
    texts = [text for text in messages(module) if not text.startswith(NOT_SHOWN.get(module, ("\0",)))]
    assert texts and without_translation(texts) == []


@pytest.mark.parametrize("module", CALLS)
def test_each_error_that_a_page_may_show_has_a_translation(module: str) -> None:
    assert without_translation(list(messages(module, CALLS[module]))) == []


def test_the_calls_that_are_looked_for_are_found() -> None:
    assert [module for module, calls in CALLS.items() if "/views/" not in module and not list(messages(module, calls))] == []


@pytest.mark.parametrize("text", [*MADE, *WHAT_TO_DO.values(), *map(remedy_of, sorted(SINK_WIDE))])
def test_a_reason_that_is_made_of_parts_is_translated_whole(text: str) -> None:
    shown = said(text, "ja")
    assert english_in(shown) == [] and JAPANESE.search(shown), shown
    assert said(text, "en") == text


def test_the_words_of_other_systems_stay_as_they_came_and_are_quoted() -> None:
    assert said("unable to frobnicate the widget", "ja") == "“unable to frobnicate the widget”"
    shown = said("the certificate of erp.internal was refused: unable to frobnicate the widget", "ja")
    assert shown == "erp.internal の証明書を受け入れられません：“unable to frobnicate the widget”"
    assert said("HTTP 500 Internal Server Error", "ja") == "HTTP 500 “Internal Server Error”"
    assert said("ab cd " * 1000, "ja") == f"“{'ab cd ' * 1000}”"
    assert said("QC/PENDING", "ja") == "QC/PENDING", "a code is no sentence"


def test_a_value_is_never_taken_for_a_placeholder() -> None:
    assert Sayings({"{one} and {two}": "{two}と{one}"}).text("{two} and b") == "bと{two}"


def test_a_translation_has_the_placeholders_of_its_text() -> None:
    texts = sayings("ja").texts
    for english, japanese in texts.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", japanese)), english
    assert all(JAPANESE.search(text) for text in texts.values() if re.search("[A-Za-z]{3}", re.sub(r"\{\w+\}|HTTP", "", text)))

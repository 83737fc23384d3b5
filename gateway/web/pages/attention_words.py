"""The words about what needs a person, in each language. English is the text of `gateway status`, and a test holds that."""

from __future__ import annotations

from typing import Any

from gateway.core.attention import Attention, GatewayStatus, SinkStatus, SourceStatus
from gateway.web.pages.catalogue import Catalogue
from gateway.web.pages.sayings import said


def attention_words(one: Attention, status: GatewayStatus, texts: Catalogue) -> str:
    """Return what is wrong, and what to do, without the name of the sink or source that it is about.

    Reasons that other programs gave stay as they came, in quotation marks.
    """
    sink = next((found for found in status.sinks if found.sink == one.sink), None)
    source = next((found for found in status.sources if found.source == one.source), None)
    watch = next((found for found in status.watches if found.watch == one.watch), None)
    refused, expires = status.config.refused, status.certificate_expires_at
    match one.reason:
        case "not_ready":
            return texts.text("attention.not_ready", detail="; ".join(said(one, texts.language) for one in status.not_ready))
        case "reload" if refused is not None:
            return texts.text("attention.reload", actor=refused.actor, detail=said(refused.detail, texts.language))
        case "certificate" if expires is not None and expires <= status.time:
            return texts.text("attention.certificate_over")
        case "certificate" if expires is not None:
            return texts.text("attention.certificate", days=(expires - status.time).days)
        case "refusing" if source is not None:
            return _refusing(source, texts)
        case "silent" if source is not None and source.silent_since is not None:
            return texts.text("attention.silent", since=_exact(source.silent_since))
        case "reconcile":
            return texts.text("attention.reconcile", detail=said(status.reconcile_refused or "", texts.language))
        case "unjudged":
            return texts.text("attention.unjudged", n=status.ledger_unjudged)
        case "stalled" if watch is not None:
            return texts.text("attention.stalled", watch=watch.watch, n=watch.stalled)
        case "dead" if sink is not None:
            last = _last_death(sink, texts)
            return texts.text("attention.dead_by" if last else "attention.dead", n=sink.dead or 0, last=last)
        case "held" | "breaker" | "paused" | "late" if sink is not None:
            by = sink.paused_by or texts.text("overview.somebody")
            return texts.text(f"attention.{one.reason}", waiting=sink.queued or 0, why=_why(sink, texts), by=by)
        case "disk" | "clock" | "invariant":
            return texts.text(f"attention.{one.reason}")
    return one.detail


def _refusing(source: SourceStatus, texts: Catalogue) -> str:
    reason, do = (said(one or "", texts.language) for one in (source.reason, source.do))
    text = texts.text("attention.refusing", since=_exact(source.since), count=source.count, reason=reason, do=do)
    return text + (texts.text("attention.refusing_kept", n=source.kept_refused) if source.kept_refused else "")


def _last_death(sink: SinkStatus, texts: Catalogue) -> str:
    last = sink.last_death
    if last is None:
        return ""
    return last.said(_words_of(last.detail, last.reason, texts))


def _why(sink: SinkStatus, texts: Catalogue) -> str:
    last = sink.last_error
    if last is None:
        return texts.text("attention.no_error")
    return _words_of(last.detail, last.reason, texts)


def _words_of(detail: str, reason: str, texts: Catalogue) -> str:
    if detail or texts.language == "en":
        return said(detail or reason, texts.language)
    return texts.text(f"reason.{reason}")


def _exact(instant: Any) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%dT%H:%M:%SZ}"

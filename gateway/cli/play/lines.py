"""The text of a caught request on the terminal: a line for each, and its details on demand. Texts of strangers draw nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from gateway.cli.output import console, printable, size, to_json
from gateway.cli.traces import marks
from gateway.core.caught_requests import Forwarded
from gateway.core.fact_fields import with_facts
from gateway.core.ledger import Facts
from gateway.core.request_pictures import RequestDetails, RequestPicture

if TYPE_CHECKING:
    from rich.console import Console

_MOST_OF_A_BODY = 8000
"""Characters of a body that the details show."""
_LONGEST_PATH = 80


class Teller:
    """Writes lines, for people or for programs."""

    def __init__(self, put: Callable[[str], None], *, as_json: bool) -> None:
        self._put = put
        self._as_json = as_json
        self._console: Console = console()

    def request(self, picture: RequestPicture, body: str | None, facts: Facts | None) -> None:
        """Tell about a request that was answered.

        Args:
            facts: those of its event; None if nothing was known of its service request.
        """
        if self._as_json:
            known = None if facts is None else with_facts({}, facts)
            document = {**msgspec.to_builtins(picture), "body": body, "facts": known}
            self._put(to_json({name: value for name, value in document.items() if value is not None}, compact=True))
            return
        self._print(_line(picture, facts))

    def replayed(self, number: int, forwarded: Forwarded) -> None:
        """Tell what became of a request that was forwarded again."""
        if self._as_json:
            said = {"replayed": number, "status": forwarded.status, "duration_ms": round(forwarded.seconds * 1000, 1)}
            self._put(to_json({**said, "detail": forwarded.detail}, compact=True))
            return
        self._print(Text.assemble(f"replayed #{number}  ", _became(forwarded.status, forwarded.seconds * 1000, forwarded.detail)))

    def chosen(self, picture: RequestPicture) -> None:
        """Tell which request the keys act on."""
        if not self._as_json:
            self._print(Text.assemble(("chosen ", "bold"), _line(picture)))

    def details(self, details: RequestDetails, facts: Facts | None) -> None:
        """Show a request with its headers, its facts, its body, and the command that sends it again."""
        if self._as_json:
            self._put(to_json(msgspec.to_builtins(details), compact=True))
            return
        picture = details.request
        headers = details.headers if isinstance(details.headers, (list, tuple)) else ()
        lines = [Text.assemble(("#", "bold"), (str(picture.number), "bold"), f"  {picture.method} ", printable(picture.path))]
        lines += [Text(f"  {printable(name)}: {printable(value)}", "dim") for name, value in headers]
        lines.append(Text.assemble("  ", _verdict(picture)))
        if facts is not None:
            before = f"was {facts.before}" if facts.before else "no state before"
            words = ", ".join([*marks(with_facts({}, facts)), before])
            lines.append(Text(f"  by the requests that came here: {printable(words)}", "yellow" if facts.stale else ""))
        body = details.body if isinstance(details.body, str) else None
        if body is None:
            lines.append(Text(f"  {picture.unreadable or 'no body'}", "yellow"))
        else:
            shown = body[:_MOST_OF_A_BODY]
            lines += [Text(f"  {printable(line)}") for line in shown.split("\n")]
            if len(body) > len(shown):
                lines.append(Text(f"  ({len(body) - len(shown)} more characters)", "dim"))
        if picture.answer is not None:
            lines.append(Text(f"  answered {picture.status}  {printable(' '.join(picture.answer.split()))}"))
        if isinstance(details.curl, str) and len(details.curl) <= _MOST_OF_A_BODY:
            lines.append(Text(f"  {printable(details.curl, chr(10))}", "dim"))
        for line in lines:
            self._print(line)

    def say(self, text: str, style: str = "") -> None:
        """Tell a person something that is about no request."""
        if not self._as_json:
            self._print(Text(printable(text), style))

    def _print(self, text: Text) -> None:
        with self._console.capture() as captured:
            self._console.print(text)
        self._put(captured.get().removesuffix("\n"))


def _line(picture: RequestPicture, facts: Facts | None = None) -> Text:
    path = printable(picture.path)
    path = path if len(path) <= _LONGEST_PATH else f"{path[: _LONGEST_PATH - 1]}…"
    event = (picture.event_type or "") if picture.milestone in (None, "unrecognized") else picture.milestone
    about = picture.reference_id or picture.sr_uuid or ""
    refused = picture.status is not None and picture.status >= 400
    parts = [
        Text(picture.time[11:19], "dim"),
        Text(f"#{picture.number}", "bold"),
        Text(f"{printable(picture.method)} {path}"),
        Text(str(picture.status or "…"), "red" if refused else ""),
        _verdict(picture),
        Text(printable(" ".join(filter(None, (event, about))) or picture.unreadable or "no event")),
        *(Text(printable(mark), "yellow") for mark in (() if facts is None else marks(with_facts({}, facts)))),
        Text(size(picture.length), "dim"),
    ]
    if picture.forwarded is not None:
        parts.append(_became(picture.forwarded.status, picture.forwarded.duration_ms, picture.forwarded.detail))
    return Text("  ").join(parts)


def _verdict(picture: RequestPicture) -> Text:
    style = "yellow" if picture.signed is None else "green" if picture.signed else "bold red"
    return Text(printable(picture.detail), style)


def _became(status: int | None, milliseconds: float, detail: str) -> Text:
    if status is None:
        return Text(f"-> {printable(detail)}", "bold red")
    said = f"-> {status} in {milliseconds:.0f} ms" + (f" ({printable(detail)})" if detail else "")
    return Text(said, "green" if status < 300 else "red")

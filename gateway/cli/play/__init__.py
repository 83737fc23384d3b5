"""`gateway play`: shows every request that comes, with the reason why its signature fits or not, and answers as it is told.

`lines` is what the terminal shows of a request, `keyboard` what the keys do.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gateway.cli.errors import UsageError
from gateway.cli.output import printable
from gateway.cli.signing_secret import signing_secret
from gateway.core.urls import UrlError, parse_url

if TYPE_CHECKING:
    from gateway.app.receiving import ReceiverSettings, Receiving

_LARGEST_PORT = 65535


def play(
    *,
    port: Annotated[int, Parameter(show_default=True, help="The port on 127.0.0.1; 0 takes a free one.")] = 8090,
    status: Annotated[int | None, Parameter(help="Answer every request with this status: 503 makes a sender try again.")] = None,
    retry_after: Annotated[int | None, Parameter(help="Seconds for the header Retry-After of every answer.")] = None,
    secret: Annotated[
        list[str] | None,
        Parameter(name="--secret", negative="", help="The sender's secret: env:NAME, file:PATH or credential:NAME. Repeatable."),
    ] = None,
    forward: Annotated[str | None, Parameter(help="Pass each request on to this URL, and answer as it does.")] = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print each request as one line of JSON.")] = False,
) -> int:
    """Show every request that comes to a port of this host, and whether its signature is right and why not. It needs no account
    and no configuration, and it keeps nothing.

    Every path takes a request; the page at /_play shows them in the browser. At a terminal, ? lists the keys. Ctrl-C ends it.

    Example: gateway play --secret env:LEGITMARK_SECRET --forward http://127.0.0.1:3000/webhooks
    """
    if not 0 <= port <= _LARGEST_PORT:
        raise UsageError(f"--port {port} is not between 0 and {_LARGEST_PORT}")
    if status is not None and not 200 <= status <= 599:
        raise UsageError(f"--status {status} is not between 200 and 599")
    if retry_after is not None and not 0 <= retry_after <= 86_400:
        raise UsageError(f"--retry-after {retry_after} is not a number of seconds between 0 and 86400")
    if forward is not None:
        try:
            parse_url(forward)
        except UrlError as error:
            raise UsageError(f"--forward {error}") from None
    given = list(secret or ())
    secrets = [signing_secret(one) for one in given]

    from gateway.app.receiving import ReceiverSettings
    from gateway.core.signature_findings import Suspect

    suspects = [Suspect(reference.replace(":", " ", 1), found) for reference, found in zip(given, secrets, strict=True)]
    settings = ReceiverSettings(
        port=port,
        status=status,
        retry_after=retry_after,
        forward=forward,
        suspects=suspects,
        reference=given[0] if given else None,
    )
    return asyncio.run(_play(settings, as_json=json_))


async def _play(settings: ReceiverSettings, *, as_json: bool) -> int:
    from gateway.app.receiving import Receiving
    from gateway.cli.play.keyboard import Keyboard
    from gateway.cli.play.lines import Teller
    from gateway.host.clock import Clock
    from gateway.host.environment import Environment
    from gateway.host.line_writer import LineWriter
    from gateway.host.streams_end import when_reader_goes
    from gateway.host.terminal import keys_of
    from gateway.observability.logs import set_up_logging

    environment = Environment.of_process()
    lines = LineWriter(sys.stdout, '{{"lost": {}}}'.format if as_json else "{} lines were lost: the terminal was too slow".format)
    teller = Teller(lines.put, as_json=as_json)
    receiving = Receiving(
        settings,
        told=lambda request: teller.request(
            receiving.painter.picture(request), receiving.painter.body(request), receiving.ledger.facts(request.number)
        ),
        replayed=lambda number, forwarded: teller.replayed(number, forwarded),
        environment=environment,
        clock=Clock(),
        log=set_up_logging(LineWriter(sys.stderr)),
    )
    keyboard = Keyboard(receiving, teller, settings.forward, environment)
    with when_reader_goes(sys.stdout, receiving.stop), keys_of(sys.stdin, keyboard.press) as has_keys:
        await receiving.run(lambda: _begin(receiving, settings, has_keys=has_keys))
    lines.close()
    return 0


def _begin(receiving: Receiving, settings: ReceiverSettings, *, has_keys: bool) -> None:
    """Tell a person where the receiver is, what it answers, and how to try it."""
    if settings.status is not None:
        answers = f"Each is answered with {settings.status}."
    elif settings.forward is not None:
        answers = f"Each goes on to {settings.forward}, and is answered as that does."
    else:
        answers = "Each is answered with 200."
    keys = "Keys: r replays, d shows the details, o opens the page, ? lists all, q ends.\n" if has_keys else "Ctrl-C ends it.\n"
    said = (
        f"Requests to {receiving.address}, on any path, are shown here and at {receiving.page}\n{answers}"
        f" Nothing is kept.\nTry it from another terminal: {receiving.try_it}\n{keys}"
    )
    print(printable(said, "\n"), file=sys.stderr)

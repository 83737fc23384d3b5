"""The request that an `http` sink would send, with `***` in place of each secret.

It is the request as the server gets it: what a proxy on the way is sent in addition is not shown.
"""

from __future__ import annotations

import base64

from gateway.core.secrets import Secret, SecretRef
from gateway.core.signature import Key
from gateway.core.urls import parse_url
from gateway.sinks.base import HIDDEN, Outgoing
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.http.request import render

_ANY_KEY = Secret("whsec_" + base64.b64encode(bytes(32)).decode())


def preview(config: HttpConfig, delivery: Outgoing, now: float) -> bytes:
    from gateway.sinks.net.http_request import RequestHeads  # only this command needs it

    # A key that belongs to nobody signs, so that the sink itself says which headers a signature brings.
    request = render(delivery, [Key(_ANY_KEY)] if config.secrets else [], now, config.format, marks_late=config.marks_late)
    headers = {name: HIDDEN if isinstance(value, SecretRef) else value for name, value in config.headers.items()}
    if config.bearer is not None:
        headers["authorization"] = f"Bearer {HIDDEN}"
    if config.basic is not None:
        headers["authorization"] = f"Basic {HIDDEN}"
    signed = {"webhook-signature": " ".join(HIDDEN for _ in config.secrets)} if config.secrets else {}
    head = RequestHeads(config.method, parse_url(config.url), headers).head(len(request.body), request.headers | signed)
    assert head is not None, "a header of a good configuration can be sent"
    return head + request.body

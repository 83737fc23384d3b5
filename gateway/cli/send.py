"""`gateway send`: signs an event as Legitmark would, and posts it to the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from msgspec import Struct

from gateway.cli.client import reachable, running
from gateway.cli.errors import UsageError
from gateway.cli.events import changed, named_bytes
from gateway.cli.options import AdminOption, ConfigOption, EventArgument, JsonOption, SetOption, configuration
from gateway.cli.output import printable, to_json
from gateway.cli.signing_secret import signing_secret
from gateway.config import as_the_service
from gateway.config.addresses import Inherited, Tcp, Unix, parse_address
from gateway.config.settings import Config
from gateway.core.errors import GatewayError, Unreachable
from gateway.core.samples import SAMPLES
from gateway.core.signature import Key, sign
from gateway.core.urls import UrlError, parse_url
from gateway.core.values import Rate, rfc3339
from gateway.host.certificates import leaf
from gateway.host.clock import Clock
from gateway.host.environment import Environment

if TYPE_CHECKING:
    import aiohttp

_SECONDS = 30
"""Seconds to wait for an answer."""


def send(
    event: EventArgument,
    /,
    *,
    config: ConfigOption = None,
    set_: SetOption = None,
    count: Annotated[int, Parameter(show_default=True, help="How many to send; each sample has its own timestamp.")] = 1,
    rate: Annotated[str | None, Parameter(help='How many to send per second or minute at most: "50/s".')] = None,
    url: Annotated[str | None, Parameter(help='Where to reach the gateway: "https://host"; default: [server] listen.')] = None,
    secret: Annotated[
        str | None,
        Parameter(help="Sign with this one and send to --url as it is, without a configuration: env:NAME, file:PATH."),
    ] = None,
    unsigned: Annotated[bool, Parameter(negative="", help="Do not sign, and send to --url as it is.")] = False,
    json_: JsonOption = False,
    admin: AdminOption = None,
) -> int:
    """Sign an event with the first source's secret, post it to the gateway, and print the answer.

    A sample gets the present time as its timestamp, so that it is not a duplicate; a file is sent byte for byte. With --secret or
    --unsigned it needs no configuration: it sends to any receiver, such as gateway play or one that is being developed.

    Example: gateway send counterfeit --set reference_id=SNK-1 --count 3

    Parameters
    ----------
    event
        The name of a sample, a file, - for standard input, or the id of a message in the running gateway.
    """
    if (secret is not None or unsigned) and url is None:
        raise UsageError("--secret and --unsigned need the place to send to: --url http://127.0.0.1:8090/webhooks")
    if secret is not None and unsigned:
        raise UsageError("--secret and --unsigned exclude each other")
    if not 1 <= count <= 1_000_000:
        raise UsageError(f"--count {count} is not between 1 and 1000000")
    if url is not None:
        try:
            parse_url(url)
        except UrlError as error:
            raise UsageError(f"--url {error}") from None
    try:
        pause = 1 / Rate(rate) if rate else 0.0
    except ValueError as error:
        raise UsageError(f"--rate: {error}") from None
    if secret is not None or unsigned:
        keys = [] if secret is None else [Key(signing_secret(secret))]
        receiver = _Receiver(url or "", None, url or "", keys)
    else:
        receiver = _configured(configuration(config, secrets=True, warn=False), url)
    return asyncio.run(_send(receiver, event, named_bytes(event, config, admin), set_ or [], count, pause, json_))


class _Receiver(Struct, frozen=True):
    """The place that events are sent to, and the keys that sign them."""

    url: str
    dialled: Config | None
    """The configuration whose first address is dialled; None dials the URL."""
    named: str
    """The place as errors name it."""
    keys: Sequence[Key]


def _configured(config: Config, url: str | None) -> _Receiver:
    """Return the gateway that a configuration describes."""
    source = next(iter(config.sources.values()))
    keys = [Key(config.secret(ref)) for ref in source.secrets[:1]]
    path = str(source.path)
    if url is not None:
        return _Receiver(f"{url.rstrip('/').removesuffix(path)}{path}", None, url, keys)
    return _Receiver(path, config, config.server.listen[0], keys)


async def _send(
    receiver: _Receiver, event: str, raw: bytes, assignments: list[str], count: int, pause: float, as_json: bool
) -> int:
    import aiohttp

    clock = Clock()
    connector, base = (aiohttp.TCPConnector(), "") if receiver.dialled is None else _target(receiver.dialled)
    keys = receiver.keys
    refused = 0
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session:
        for number in range(count):
            stamped = [*_timestamp(event, assignments, clock.now() + number / 1000), *assignments]
            body = changed(raw, stamped)
            message_id = f"msg_{clock.new_id()}"
            headers = sign(keys, message_id, clock.now(), body, family="svix") if keys else {"svix-id": message_id}
            started = clock.monotonic()
            try:
                async with session.post(
                    f"{base}{receiver.url}", data=body, headers={"content-type": "application/json", **headers}
                ) as response:
                    answer = (await response.read()).decode(errors="replace")
                    status = response.status
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise _unreachable(error, receiver.named) from None
            milliseconds = (clock.monotonic() - started) * 1000
            refused += status != 200
            if as_json:
                print(
                    to_json({"sender_id": message_id, "status": status, "duration_ms": round(milliseconds, 1), "answer": answer})
                )
            else:
                print(printable(f"{status}  {answer}  {milliseconds:.1f} ms"))
            if pause and number + 1 < count:
                await clock.wait(asyncio.Event(), pause)
    return 1 if refused else 0


def _unreachable(error: Exception, where: str) -> GatewayError:
    """Return the error that says why the gateway was not reached, and what to do."""
    import aiohttp

    match error:
        case aiohttp.ServerFingerprintMismatch():
            return Unreachable("the gateway still shows another certificate than the one in the file; run: gateway reload")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return UsageError(f'--url {where} is not an http(s) URL; write "https://hooks.example.com"')
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return Unreachable(
                f"{where}: its certificate is not trusted here: {why}; for your own CA: SSL_CERT_FILE=ca.pem gateway send ..."
            )
        case aiohttp.ClientSSLError():
            return Unreachable(
                f"{where}: the TLS handshake failed; is it http://? [server] tls takes effect when the gateway starts again"
            )
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(f"{where}: {error.os_error.strerror}: is the name right?")
        case TimeoutError():
            return Unreachable(f"{where} does not answer within {_SECONDS} s")
        case aiohttp.ClientConnectorError():
            return Unreachable(f"no gateway answers at {where}; start it with: gateway serve")
    return Unreachable(
        f"{where} closed the connection without an answer" + ("; is it https://?" if where.startswith("http://") else "")
    )


def _timestamp(event: str, assignments: list[str], now: float) -> list[str]:
    if event not in SAMPLES or any(text.startswith("timestamp=") for text in assignments):
        return []
    return [f"timestamp={rfc3339(now)}"]


def _target(config: Config) -> tuple[aiohttp.BaseConnector, str]:
    """Return aiohttp's connector and the URL without its path, for the first address that the gateway listens on."""
    import aiohttp

    address = parse_address(config.server.listen[0], config.base)
    if isinstance(address, Inherited) or (isinstance(address, Tcp) and address.port == 0):
        address = _in_use(config) or address
    match address:
        case Unix(path=path):
            return aiohttp.UnixConnector(str(path)), "http://localhost"
        case Tcp(host=host, port=port):
            dialled = Tcp(reachable(host), port)
            if config.server.tls is None:
                return aiohttp.TCPConnector(), f"http://{dialled}"
            # Expect exactly the gateway's certificate: it is hardly ever made out to the name of this address.
            own = sha256(leaf(config.secret(config.server.tls.pair[0]))).digest()
            return aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(own)), f"https://{dialled}"
        case Inherited():
            example = "http://127.0.0.1:8080" if config.server.tls is None else "https://, and a name in its certificate"
            raise UsageError(f"the gateway listens on a socket of systemd; give its address: --url {example}")


def _in_use(config: Config) -> Tcp | Unix | None:
    """Return the webhook address that the running gateway has published; None if it has published none."""
    said = running(config.file, as_the_service(config.file, Environment.of_process()))
    addresses = [parse_address(text, config.base) for text in said.webhooks] if said is not None else []
    return next((address for address in addresses if not isinstance(address, Inherited)), None)

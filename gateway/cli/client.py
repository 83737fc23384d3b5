"""The client of a running gateway's admin listener. Commands use it in place of the gateway's database."""

from __future__ import annotations

import asyncio
import errno
import getpass
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway import NO_SOURCE, SERVER
from gateway.cli.errors import UsageError
from gateway.config import as_the_service, find, load_admin, load_store
from gateway.config.addresses import Address, Inherited, Tcp, Unix, parse_address
from gateway.config.decode import suggestion
from gateway.config.settings import AdminSettings
from gateway.core.errors import ConfigError, GatewayError, Unreachable
from gateway.core.fact_fields import facts_in
from gateway.core.ledger import Facts
from gateway.host.address_file import Addresses, read
from gateway.host.environment import Environment

if TYPE_CHECKING:
    import aiohttp  # imported where it is used, so that `--help` need not wait for it

TOKEN_VARIABLE = "GATEWAY_ADMIN_TOKEN"
"""The variable with the token of the person who runs commands. It is sent in place of `[admin] token`."""
_SECONDS = 60.0
"""Seconds to wait for an answer."""
_DIAL_SECONDS = 2.0
"""Seconds to connect to a gateway on this host."""


class RequestRefused(GatewayError):
    """The gateway refused the request; a usage error if it knows no such sink or route."""

    def __init__(self, answer: dict[str, Any], status: int) -> None:
        super().__init__(str(answer.get("detail") or answer.get("error") or status))
        self.answer = answer
        self.exit_code = UsageError.exit_code if status == 404 else 1  # type: ignore[misc]

    def suggesting(self, name: str) -> GatewayError:
        """Return the error with the known name that comes closest, if the gateway listed the known names."""
        known = self.answer.get("known")
        return UsageError(f"{self}; {suggestion(name, known)}") if known else self


class Client:
    """A session with one admin listener. Raises Unreachable or Refused."""

    def __init__(self, session: aiohttp.ClientSession, address: str, socket: Path | None, tokenless: str | None) -> None:
        """
        Args:
            socket: the path, if the address is a unix socket.
            tokenless: why the configured token can't be sent; None if it can, or if there is none.
        """
        self._session = session
        self._address = address
        self._socket = socket
        self._tokenless = tokenless

    async def get(self, path: str, query: dict[str, Any] | None = None, *, seconds: float = _SECONDS) -> dict[str, Any]:
        import aiohttp

        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        return await self._call("GET", path, params=given, timeout=aiohttp.ClientTimeout(total=seconds))

    async def post(
        self, path: str, document: dict[str, Any], query: dict[str, str] | None = None, *, seconds: float | None = _SECONDS
    ) -> dict[str, Any]:
        """`seconds` to wait for the answer; None waits without limit, for work that the gateway itself ends."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=seconds, connect=_SECONDS)
        return await self._call("POST", path, json=document, params=query or {}, timeout=timeout)

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        import aiohttp

        try:
            async with self._session.request(method, f"http://localhost{path}", **options) as response:
                if response.headers.get("Server") != SERVER:
                    raise Unreachable(
                        f"the server at {self._address} is not a gateway: is it the address of [admin] listen, "
                        "without a proxy that changes the header Server?"
                    )
                answer: dict[str, Any] = await response.json(content_type=None)
        except TimeoutError:
            raise Unreachable(f"the gateway at {self._address} does not answer in time; see its log") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if self._socket is not None and getattr(error, "errno", None) in (errno.EACCES, errno.EPERM):
                raise Unreachable(f"{self._address}: permission denied; allowed are root, and {_owners(self._socket)}") from None
            raise Unreachable(f"no gateway answers at {self._address}; is it running? (gateway serve)") from None
        if response.status == 404 and answer.get("detail") == NO_SOURCE:
            raise Unreachable(f"{self._address} is the listener for webhooks: use the address of [admin] listen")
        if response.status == 401 and self._tokenless is not None:
            raise UsageError(f"the gateway asks for its token, unless you are root or its user: {self._tokenless}")
        if response.status == 401:
            raise UsageError(f"the gateway asks for the token of one of its users: put yours into ${TOKEN_VARIABLE}")
        if response.status != 200:
            raise RequestRefused(answer, response.status)
        return answer


@asynccontextmanager
async def connected(config: Path | None, admin: str | None) -> AsyncIterator[Client]:
    """Connect to the gateway that a configuration or `--admin` names.

    Only [admin] of the configuration is read: the rest may be wrong while the gateway runs on. If the gateway started with other
    addresses than the file names now, it is asked at those. Raises ConfigError if [admin] can't be read: another gateway may
    listen at the default address. Raises UsageError if the address can't be used.
    """
    import aiohttp

    if admin == "":
        raise UsageError("--admin is empty: is a shell variable not set?")
    environment = Environment.of_process()
    settings, base = AdminSettings(), Path()
    if admin is None or config is not None:
        file = find(config, environment)
        base = file.parent
        service = as_the_service(file, environment)
        settings = load_admin(file, service)
    text = admin or next(iter(settings.listen), "")
    try:
        address = parse_address(text, base)
        if admin is None and (used := await _in_use(address, running(file, service))) is not None:
            text, address = used, parse_address(used, base)
    except ValueError as error:
        raise UsageError(f"{'--admin' if admin else '[admin] listen'}: {error}") from None
    headers, tokenless = {}, None
    if (own := environment.get(TOKEN_VARIABLE)) is not None:
        headers["authorization"] = f"Bearer {own}"
    elif settings.token is not None:
        try:
            headers["authorization"] = f"Bearer {environment.secret(settings.token, base).reveal()}"
        except ValueError as error:
            tokenless = f"[admin] token: {error}"
            if not isinstance(address, Unix):
                raise UsageError(tokenless) from None
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(connector=_connector(address), timeout=timeout, headers=headers) as session:
        yield Client(session, text, address.path if isinstance(address, Unix) else None, tokenless)


def running(file: Path, environment: Environment) -> Addresses | None:
    """Return the addresses that the gateway of a configuration has published; None if there are none, or no database is named."""
    try:
        database, _ = load_store(file, environment)
    except ConfigError:
        return None
    return read(database, environment)


async def _in_use(configured: Address, running: Addresses | None) -> str | None:
    """Return the admin address that a gateway still uses, if the configuration names another one and that one does not answer."""
    if running is None or not running.admin or str(configured) in running.admin:
        return None
    if not isinstance(configured, Inherited) and await _answers(configured):
        return None
    used = next((text for text in running.admin if not text.startswith("fd:")), None)
    if used is None or not await _answers(parse_address(used, Path())):
        return None
    if not (isinstance(configured, Inherited) or (isinstance(configured, Tcp) and configured.port == 0)):
        said = f"no gateway answers at {configured}; the gateway that runs listens at {used}, until it is started again"
        print(f"gateway: {said}", file=sys.stderr)
    return used


async def _answers(address: Address) -> bool:
    """Return True if a process listens there."""
    try:
        async with asyncio.timeout(_DIAL_SECONDS):
            match address:
                case Unix(path=path):
                    _, writer = await asyncio.open_unix_connection(path)
                case Tcp(host=host, port=port):
                    _, writer = await asyncio.open_connection(reachable(host), port)
                case Inherited():
                    return False
    except PermissionError:
        return True  # a process listens, and the error that follows says who is allowed
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def reachable(host: str) -> str:
    """Return the address to dial for a listener's host; loopback for one that listens on all addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


async def stored_event(text: str, config: Path | None, admin: str | None) -> tuple[bytes, Facts | None]:
    """Return the body of a message in the running gateway, and its facts. Raises UsageError if no message has the id."""
    async with connected(config, admin) as client:
        found = (await client.get(f"/api/messages/{segment(text)}"))["messages"]
    if not found:
        raise UsageError(f'no message has the id "{text}"')
    if found[0]["body"] is None:
        raise UsageError(f"the body of {text} is not for your role: the role read sees it")
    return str(found[0]["body"]).encode(), facts_in(found[0].get("facts"))


def actor() -> str:
    """Return who acts, for the audit log: the user of this process, or the user who called sudo."""
    environment = Environment.of_process()
    try:
        return environment.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def segment(text: str) -> str:
    """Return a text quoted as one segment of a path."""
    return quote(text, safe="", errors="surrogateescape")


def _owners(path: Path) -> str:
    """Name the user and the group that may use a socket."""
    for place in (path, path.parent):  # the folder, if it is the folder that others may not enter
        with suppress(OSError, KeyError):
            return f"the user {place.owner()} and the group {place.group()}"
    return "the gateway's own user and group"


def _connector(address: Tcp | Unix | Inherited) -> aiohttp.BaseConnector:
    import aiohttp

    class To(aiohttp.TCPConnector):
        """Dials one address whatever the URL says, so that the header Host is always one that the gateway accepts."""

        async def _resolve_host(self, host: str, port: int, traces: Any = None) -> Any:
            return await super()._resolve_host(reachable(dialled.host), dialled.port, traces=traces)

    match address:
        case Unix(path=path):
            return aiohttp.UnixConnector(str(path))
        case Tcp() as dialled:
            return To()
        case Inherited():
            raise UsageError("the admin listener is a socket of systemd: give its address with --admin")

"""The admin listener of a running gateway, as the commands call it. They never open its database behind its back."""

from __future__ import annotations

import errno
import getpass
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.cli.common import UsageError
from gateway.config import as_the_service, find, load_admin
from gateway.config.decode import suggestion
from gateway.config.listen import Inherited, Tcp, Unix, parse
from gateway.config.settings import AdminSettings
from gateway.core.errors import GatewayError, Unreachable
from gateway.core.values import Environment

if TYPE_CHECKING:
    import aiohttp  # only what asks has to wait for its import: `--help` does not

_SECONDS = 60.0
"""For an answer."""


class Refused(GatewayError):
    """The gateway answered, and said no; where there is no such sink or route, that is a usage error."""

    def __init__(self, answer: dict[str, Any], status: int) -> None:
        super().__init__(str(answer.get("detail") or answer.get("error") or status))
        self.answer = answer
        self.exit_code = UsageError.exit_code if status == 404 else 1  # type: ignore[misc]

    def suggesting(self, name: str) -> GatewayError:
        """With what was probably meant by the name, where the gateway says which there are."""
        known = self.answer.get("known")
        return UsageError(f"{self}; {suggestion(name, known)}") if known else self


class Client:
    def __init__(self, session: aiohttp.ClientSession, address: str, socket: Path | None, tokenless: str | None) -> None:
        """`socket` is the address where it is one; `tokenless` tells why there is no token to show, where there should be."""
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
        """`seconds` to wait for the answer; None: as long as it takes, for what the gateway itself puts an end to."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=seconds, connect=_SECONDS)
        return await self._call("POST", path, json=document, params=query or {}, timeout=timeout)

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        import aiohttp

        try:
            async with self._session.request(method, f"http://localhost{path}", **options) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except TimeoutError:
            raise Unreachable(f"the gateway at {self._address} does not answer in time; does it hang? Its log may say") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if self._socket is not None and getattr(error, "errno", None) in (errno.EACCES, errno.EPERM):
                raise Unreachable(
                    f"{self._address}: permission denied; root may ask there, and {_owners(self._socket)}"
                ) from None
            raise Unreachable(f"no gateway answers at {self._address}; is it running? (gateway serve)") from None
        if response.status == 401 and self._tokenless is not None:
            raise UsageError(f"the gateway asks for its token, unless you are root or its user: {self._tokenless}")
        if response.status != 200:
            raise Refused(answer, response.status)
        return answer


@asynccontextmanager
async def connected(config: Path | None, admin: str | None) -> AsyncIterator[Client]:
    """A client of the gateway that a configuration or `--admin` names.

    Of the configuration only [admin] is read: the rest may be wrong while the gateway runs on. Raises ConfigError where not
    even that can be read: at the default address, another gateway may answer.
    """
    import aiohttp

    environment = Environment.of_process()
    settings, base = AdminSettings(), Path()
    if admin is None or config is not None:
        file = find(config, environment)
        base = file.parent
        settings = load_admin(file, as_the_service(file, environment))
    text = admin or next(iter(settings.listen), "")
    try:
        address = parse(text, base)
    except ValueError as error:
        raise UsageError(f"{'--admin' if admin else '[admin] listen'}: {error}") from None
    headers, tokenless = {}, None
    if settings.token is not None:
        try:
            headers["authorization"] = f"Bearer {environment.secret(settings.token, base).reveal()}"
        except ValueError as error:
            tokenless = f"[admin] token: {error}"
            if not isinstance(address, Unix):
                raise UsageError(tokenless) from None
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(connector=_connector(address), timeout=timeout, headers=headers) as session:
        yield Client(session, text, address.path if isinstance(address, Unix) else None, tokenless)


async def stored_body(text: str, config: Path | None, admin: str | None) -> bytes:
    """The body of a message that the running gateway has. Raises UsageError where no message has the id."""
    async with connected(config, admin) as client:
        found = (await client.get(f"/api/messages/{segment(text)}"))["messages"]
    if not found:
        raise UsageError(f'no message has the id "{text}"')
    return str(found[0]["body"]).encode()


def actor() -> str:
    """Who acts, for the audit log: the user of this process, behind sudo the one who called it."""
    environment = Environment.of_process()
    try:
        return environment.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def _owners(path: Path) -> str:
    """Who may talk to a socket that others may not, in words."""
    for place in (path, path.parent):  # the folder, where it is that which nobody else may enter
        with suppress(OSError, KeyError):
            return f"the user {place.owner()} and the group {place.group()}"
    return "the gateway's own user and group"


def _connector(address: Tcp | Unix | Inherited) -> aiohttp.BaseConnector:
    import aiohttp

    class To(aiohttp.TCPConnector):
        """Dials one address whatever the URL says, so that the Host is always one that the gateway knows."""

        async def _resolve_host(self, host: str, port: int, traces: Any = None) -> Any:
            return await super()._resolve_host(reachable, dialled.port, traces=traces)

    match address:
        case Unix(path=path):
            return aiohttp.UnixConnector(str(path))
        case Tcp() as dialled:
            reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(dialled.host, dialled.host)
            return To()
        case Inherited():
            raise UsageError("the admin listener is a socket of systemd: name its address with --admin")

"""Composes `gateway play`: a listener on loopback that needs no configuration and keeps nothing. Runs it from start to stop."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aiohttp import web
from msgspec import Struct

from gateway.config.addresses import Tcp
from gateway.core.caught_facts import ReceiverLedger
from gateway.core.caught_requests import CaughtRequest, Forwarded, RequestRing
from gateway.core.errors import ListenError
from gateway.core.request_pictures import Painter
from gateway.core.signature_findings import Suspect
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.signals import signals_call
from gateway.observability.logs import Log, RateLimited
from gateway.web.pages.live_streams import LiveStreams
from gateway.web.play.answering import PAGE, AnswerChoice, Answering
from gateway.web.play.forwarding import Forwarder
from gateway.web.play.receiver import Receiver
from gateway.web.play.receiver_pages import LIVE, ReceiverFacts, ReceiverPages
from gateway.web.play.shown_requests import ShownRequests, SourceSecrets
from gateway.web.server.bounded import BoundedServer
from gateway.web.server.drain_times import OPERATORS
from gateway.web.server.listen import listen, stop_listening

HOST = "127.0.0.1"
_DRAIN_SECONDS = 1.0
"""Seconds that a stop gives to requests that are under way."""


class ReceiverSettings(Struct, frozen=True, kw_only=True):
    """The choices of a person for a receiver."""

    port: int
    """0 lets the system choose one."""
    status: int | None
    """The status of every answer; see `Answering`."""
    retry_after: int | None
    forward: str | None
    """The URL that every request is passed on to."""
    suspects: Sequence[Suspect]
    """The secrets that may have signed."""
    reference: str | None
    """The first of them, as an option names it."""


class Receiving:
    """A receiver that listens. `run` returns after Ctrl-C, SIGTERM, SIGHUP or `stop`."""

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        told: Callable[[CaughtRequest], None],
        replayed: Callable[[int, Forwarded], None],
        environment: Environment,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            told: called with each request once it is answered.
            replayed: called with what became of each request that was forwarded again.
        """
        self.address = ""
        """Scheme, host and port, once it listens."""
        self.ring = RequestRing()
        self.ledger = ReceiverLedger()
        """The facts of the events that came."""
        self.shown = ShownRequests(self.ring, {None: SourceSecrets(settings.suspects)}, base=lambda: self.address)
        self._settings = settings
        self._told = told
        self._replayed = replayed
        self._environment = environment
        self._clock = clock
        self._log = log
        self._stop = asyncio.Event()
        self._version = 0
        """Another number after each request and each replay."""
        self._again: asyncio.Queue[int] = asyncio.Queue()

    @property
    def painter(self) -> Painter:
        """Makes pictures of requests, by the secrets that are known now."""
        return self.shown.painter(None)

    @property
    def page(self) -> str:
        """The URL of the page."""
        return f"{self.address}{PAGE}"

    @property
    def try_it(self) -> str:
        """The command that sends a request here."""
        reference = self._settings.reference
        signing = "--unsigned" if reference is None else f"--secret {shlex.quote(reference)}"
        return f"gateway send counterfeit --url {self.address}/webhooks {signing}"

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()

    def replay(self, number: int) -> None:
        """Forward a request once more, after those that were asked for before."""
        self._again.put_nowait(number)

    async def run(self, ready: Callable[[], None]) -> None:
        """Take requests until the stop.

        Args:
            ready: called once, when it listens.
        Raises ListenError if the port cannot be had.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            stack.enter_context(signals_call(self.stop, self.stop, last=True))
            forwarder = None
            if settings.forward is not None:
                forwarder = await stack.enter_async_context(Forwarder(settings.forward, self._clock))
            choice = AnswerChoice(Answering(settings.status, settings.retry_after))
            pages = ReceiverPages(
                self.shown,
                choice,
                live=LiveStreams(changes={LIVE: lambda: self._version}, stop=self._stop, clock=self._clock),
                ledger=self.ledger,
                facts=lambda: ReceiverFacts(address=self.address, forward=settings.forward, try_it=self.try_it),
                replay=self.replay,
                clock=self._clock,
            )
            receiver = Receiver(
                choice,
                ring=self.ring,
                forwarder=forwarder,
                page=pages.handle,
                told=self._tell,
                clock=self._clock,
            )
            await stack.enter_async_context(self._listening(receiver))
            ready()
            async with asyncio.TaskGroup() as tasks:
                replays = tasks.create_task(self._replay_all(receiver), name="replays")
                await self._stop.wait()
                replays.cancel()

    def _tell(self, request: CaughtRequest) -> None:
        self._version += 1
        self.ledger.take(request, signed=self.shown.picture(request).signed)
        self._told(request)

    async def _replay_all(self, receiver: Receiver) -> None:
        while True:
            number = await self._again.get()
            forwarded = await receiver.replay(number)
            self._version += 1
            if forwarded is not None:
                self._replayed(number, forwarded)

    @asynccontextmanager
    async def _listening(self, receiver: Receiver) -> AsyncIterator[None]:
        logger = logging.Logger("aiohttp.server")
        logger.addHandler(RateLimited(self._log.bind(what="play"), self._clock.monotonic))
        # Every sender is this host, so none has a share of its own.
        server = BoundedServer(receiver.handle, logger, drain_times=OPERATORS, peer_of=lambda address: None)
        runner = web.ServerRunner(server, shutdown_timeout=_DRAIN_SECONDS / 2)
        await runner.setup()
        try:
            self.address = f"http://{await self._listen(runner)}"
            yield
            await stop_listening(runner)
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await server.drain()
        finally:
            await stop_listening(runner)
            server.cut()
            await runner.cleanup()

    async def _listen(self, runner: web.ServerRunner) -> str:
        try:
            return await listen(runner, Tcp(HOST, self._settings.port), self._environment)
        except ListenError as error:
            cause = error.__cause__
            why = cause.strerror if isinstance(cause, OSError) else str(error)
            place = f"{HOST}:{self._settings.port}"
            raise ListenError(f"can't listen on {place}: {why}; choose another port with --port") from None

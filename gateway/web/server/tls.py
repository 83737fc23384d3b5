"""TLS of the webhook listeners: the certificate that they show, and how long a handshake may take."""

from __future__ import annotations

import asyncio
import ssl

from msgspec import Struct

from gateway.core.secrets import Secret
from gateway.host import certificates
from gateway.host.certificates import PairError, Validity
from gateway.host.clock import Clock
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics

HANDSHAKE_SECONDS = 10.0
CLOSING_SECONDS = 1.0
"""Seconds for the other side to say goodbye, too (RFC 8446, section 6.1); asyncio's own is half a minute, longer than a drain."""
_DAY = 86400.0


class Certificate(Struct, frozen=True):
    """A certificate with its key, ready to be shown."""

    context: ssl.SSLContext
    validity: Validity

    @classmethod
    def of(cls, certificate: Secret, key: Secret) -> Certificate:
        """Load a certificate and its key, both in PEM. Raises PairError."""
        # Not `create_default_context`: that would write the keys of every connection to the file of $SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # a client could ask for one handshake after the other
        context.set_alpn_protocols(["http/1.1"])
        certificates.load_pair(context, certificate, key)
        try:
            return cls(context, certificates.validity(certificate))
        except ValueError as error:
            raise PairError("certificate", str(error)) from None


class Tls:
    """The certificate that the listeners show. `use` gives them another one, for the handshakes that begin from then on."""

    def __init__(self, certificate: Certificate, *, metrics: Metrics, clock: Clock, log: Log) -> None:
        self.handshake_seconds = HANDSHAKE_SECONDS
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._certificate = certificate
        metrics.certificate_ends(certificate.validity.ends)

    @property
    def context(self) -> ssl.SSLContext:
        return self._certificate.context

    @property
    def expires_at(self) -> float:
        """The instant at which the certificate expires, in Unix seconds, UTC."""
        return self._certificate.validity.ends

    def use(self, certificate: Certificate | None) -> None:
        """Show another certificate, for the handshakes that begin from now on.

        Args:
            certificate: None goes on with the one before: to speak plain HTTP takes a restart.
        """
        if certificate is None:
            return
        self._certificate = certificate
        self._metrics.certificate_ends(certificate.validity.ends)

    async def run(self) -> None:
        """Warn once a day, until cancelled. The first warning comes after a day: loading the configuration has warned already."""
        while True:
            await self._clock.wait(asyncio.Event(), _DAY)
            self.step()

    def step(self) -> None:
        """Warn of a certificate that clients refuse, or will refuse soon."""
        if (trouble := self._certificate.validity.trouble(self._clock.now())) is not None:
            self._log.warning("tls.certificate", trouble=trouble, do="renew it, and reload")

"""Why no connection to PostgreSQL came about, in words for the person who wrote the URL, with what to do. It connects to nothing.

The texts name user, host and database, and never the password: what the driver says is repeated only where it cannot hold one.
"""

from __future__ import annotations

import socket
import ssl

import asyncpg

from gateway.core.database_url import parse_database_url
from gateway.core.errors import StoreError, StoreUnfit
from gateway.core.urls import UrlError

POOLER = "a pooler in transaction mode answers: connect to PostgreSQL itself, or to a session pool"
NO_PRIMARY = "no server there takes writes: each is a standby, or only reads; one has to be the primary"
_UNKNOWN_STATEMENT = "26000"
"""The SQLSTATE of a prepared statement that another server connection has (PostgreSQL, Appendix A)."""


def why_not_connected(error: Exception, url: str) -> StoreError:
    """Return our error for a failed attempt to connect. StoreUnfit, if another attempt cannot go better by itself.

    Args:
        url: the URL of the server, of which the password is left out.
    """
    try:
        place = parse_database_url(url)
    except UrlError as wrong:
        return StoreUnfit(f"[store] url {wrong}")
    by_network = any(not host.startswith("/") for host, _ in place.hosts)
    if isinstance(error, (FileNotFoundError, PermissionError)) and by_network:  # no host is a file, so it is one of TLS
        return StoreUnfit(f"{place}: a file of sslrootcert, sslcert or sslkey cannot be read ({error.strerror})")
    kind, why = _why(error)
    return kind(f"{place}: {why}")


def _why(error: Exception) -> tuple[type[StoreError], str]:
    match error:
        case asyncpg.InvalidPasswordError():
            return StoreUnfit, "the server refuses the user or its password: correct the secret of [store] url"
        case asyncpg.InvalidAuthorizationSpecificationError():  # pg_hba.conf, or an unknown user
            return StoreUnfit, f"the server does not let this user in ({_words(error)}): add a line to its pg_hba.conf"
        case asyncpg.InvalidCatalogNameError():
            return StoreUnfit, "the server has no such database: create it with ENCODING 'UTF8', or name another one"
        case asyncpg.InsufficientPrivilegeError():
            return StoreUnfit, f"this user may not connect to the database ({_words(error)}): GRANT CONNECT ON DATABASE"
        case asyncpg.TooManyConnectionsError():
            return StoreError, "the server takes no further connection: raise its max_connections"
        case asyncpg.CannotConnectNowError():
            return StoreError, f"the server takes no connections now ({_words(error)})"
        case asyncpg.TargetServerAttributeNotMatched():
            return StoreError, NO_PRIMARY
        case asyncpg.PostgresError(sqlstate=sqlstate):
            if sqlstate == _UNKNOWN_STATEMENT or refuses_transactions(error):
                return StoreUnfit, POOLER
            return StoreError, f"the server refuses the connection ({sqlstate}: {_words(error)})"
        case asyncpg.ClientConfigurationError():
            return StoreUnfit, f"the options of [store] url cannot be used: {_words(error)}"
        case ssl.SSLCertVerificationError():
            do = "name its issuer with sslrootcert=FILE in [store] url, and the host as the certificate does"
            return StoreUnfit, f"the server's certificate cannot be trusted ({error.verify_message}): {do}"
        case ssl.SSLError():
            return StoreError, f"TLS failed ({error.reason or type(error).__name__})"
        case socket.gaierror():
            return StoreError, f"the name of the host is unknown ({error.strerror}): correct [store] url, or the DNS"
        case TimeoutError():
            return StoreError, "the server does not answer"
        case ConnectionRefusedError() | FileNotFoundError():
            return StoreError, "nothing listens there: start PostgreSQL, or correct the host and the port of [store] url"
        case ConnectionError() if "SSL" in str(error):
            return (
                StoreUnfit,
                "the server speaks no TLS, which [store] url asks for with sslmode: turn ssl on in its postgresql.conf",
            )
        case OSError():
            return StoreError, f"the server cannot be reached ({error.strerror or type(error).__name__})"
    return StoreError, f"the server cannot be used ({type(error).__name__})"


def refuses_transactions(error: Exception) -> bool:
    """Return True if a pooler in statement mode answered; pgbouncer says so in words alone."""
    return "statement pooling" in str(error)


def _words(error: Exception) -> str:
    return str(error).split("\n", 1)[0]

"""Translation of the errors of PostgreSQL and of the network into ours."""

from __future__ import annotations

import asyncpg

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed


class ConnectionLost(StoreError):
    """The connection broke. Whether the transaction in progress was committed is known only if its COMMIT was not sent yet."""


class TransactionConflict(Exception):
    """The transaction lost against another one, and nothing of it was committed; it may succeed if it is repeated."""


def is_loss(error: Exception) -> bool:
    """Return True if an error means that the connection is of no use any more."""
    return isinstance(
        error,
        (
            OSError,
            asyncpg.InternalClientError,  # the server ended the connection while a statement was on its way
            asyncpg.PostgresConnectionError,
            asyncpg.InternalClientError,  # the server ended the session between two statements, and the driver lost its place
            asyncpg.ReadOnlySQLTransactionError,  # after a fail-over this is a standby: another one is the primary now
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
            asyncpg.CannotConnectNowError,
            asyncpg.IdleInTransactionSessionTimeoutError,
        ),
    )


def is_conflict(error: BaseException) -> bool:
    """Return True if a transaction lost against another one, so that it may succeed if it is repeated.

    A foreign key is violated only if another node purged a message in this very moment.
    """
    return isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError | asyncpg.ForeignKeyViolationError)


def is_bug(error: Exception) -> bool:
    """Return True for an error that only a bug can cause: nothing outside the gateway makes it pass."""
    return isinstance(
        error,
        asyncpg.IntegrityConstraintViolationError
        | asyncpg.DataError
        | asyncpg.PostgresSyntaxError
        | asyncpg.UndefinedColumnError
        | asyncpg.AmbiguousColumnError
        | asyncpg.DatatypeMismatchError
        | asyncpg.UndefinedFunctionError,
    )


def translated(error: Exception) -> StoreError:
    """Return our error for an error of PostgreSQL, of its driver or of the network. The text has no password.

    A full disk, a lock and a server that is away pass by themselves: a plain StoreError. A server that cannot read its own files
    ends the process: StoreFailed, or StoreCorrupt.
    """
    match error:
        case asyncpg.DataCorruptedError() | asyncpg.IndexCorruptedError():
            return StoreCorrupt(f"the database is corrupt ({_words(error)}): stop, keep it, and restore a backup")
        case asyncpg.PostgresIOError():
            return StoreFailed(f"the database server cannot read or write its files ({_words(error)})")
        case asyncpg.DiskFullError():
            return StoreError("the disk of the database server is full: make room there")
        case asyncpg.ReadOnlySQLTransactionError():
            return StoreError("the database server only reads: it is a standby now, and another one is to be the primary")
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return StoreError("the database server refuses the user or the password of [store] url")
        case asyncpg.InvalidCatalogNameError():
            return StoreError(f"the database server has no such database ({_words(error)})")
        case asyncpg.InsufficientPrivilegeError():
            return StoreError(f"the user of [store] url may not do this ({_words(error)}): grant it, or name the owner")
        case asyncpg.TooManyConnectionsError():
            return StoreError("the database server takes no further connection: raise its max_connections")
        case asyncpg.PostgresError():
            return StoreError(f"the database refuses ({error.sqlstate}: {_words(error)})")
        case TimeoutError():
            return StoreError("the database server does not answer")
        case OSError():
            return StoreError(f"the database server cannot be reached ({error.strerror or type(error).__name__})")
    return StoreError(f"the database server cannot be used ({_words(error)})")


def _words(error: Exception) -> str:
    return str(error).split("\n", 1)[0]

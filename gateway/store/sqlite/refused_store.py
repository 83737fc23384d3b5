"""The store of refused requests in a file of its own: opened when it is needed, and set aside when it is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from gateway.core.errors import StoreError
from gateway.core.kept_requests import KeptRequests, RefusedRequest
from gateway.store.sqlite.refused_file import RefusedFile, is_damage

_T = TypeVar("_T")


class SqliteRefusedStore:
    """The verbs of `store.refused`. The file is made with the first request that is kept."""

    def __init__(self, path: Path, told: Callable[..., object]) -> None:
        """
        Args:
            told: called with an event and its facts when a damaged file is set aside.
        """
        self._path = path
        self._told = told
        self._file: RefusedFile | None = None

    def keep(self, requests: Sequence[RefusedRequest], limits: Mapping[str, int]) -> None:
        self._run(lambda file: file.keep(requests, limits), None, create=True)

    def kept(self) -> dict[str, KeptRequests]:
        return self._run(RefusedFile.kept, dict[str, KeptRequests]())

    def page(self, source: str, after: int, last: int, most: int, most_bytes: int) -> list[RefusedRequest]:
        return self._run(lambda file: file.page(source, after, last, most, most_bytes), list[RefusedRequest]())

    def remove(self, seqs: Sequence[int]) -> None:
        self._run(lambda file: file.remove(seqs), None)

    def forget(self, sources: Sequence[str], before: float) -> None:
        self._run(lambda file: file.forget(sources, before), None)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _run(self, function: Callable[[RefusedFile], _T], without: _T, *, create: bool = False) -> _T:
        """Run a function on the file, once more on an empty file if this one is damaged; without a file, return `without`."""

        def work() -> _T:
            file = self._opened(create=create)
            return without if file is None else function(file)

        try:
            with _as_store_errors():
                return work()
        except _DamagedFile:
            if self._file is None:
                raise
            with _as_store_errors():
                self._file.begin_anew()
                self._tell_set_aside(self._file)
                return work()

    def _opened(self, *, create: bool) -> RefusedFile | None:
        if self._file is not None and self._file.replaced():
            self.close()
        if self._file is None and (create or self._path.exists()):
            self._file = RefusedFile(self._path)
            self._tell_set_aside(self._file)
        return self._file

    def _tell_set_aside(self, file: RefusedFile) -> None:
        if file.set_aside is not None:
            do = "it was damaged: the refused requests in it can't be reverified"
            self._told("refused.set_aside", file=str(file.set_aside), do=do)
            file.set_aside = None


class _DamagedFile(StoreError):
    """The file itself is wrong, not the disk or the moment."""


@contextmanager
def _as_store_errors() -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into StoreError, of a damaged file into _DamagedFile."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        kind = _DamagedFile if is_damage(error) else StoreError
        raise kind(f"the file of refused requests can't be used: {error}") from error

"""Records the secrets that a process of the gateway builds, the places where they lie, and everything that it writes.

Standard library alone, and little of it: it is loaded into every child, some of which have to start quickly. No product code
knows of it. Each record is a marshalled tuple `(kind, test, name, value)` in a file per process, so that a kill loses none:

secret    a secret was built, by that name
place     a file in which a secret lies: it stands there by right
written   a path that the gateway opened for writing
input     a path that a test opened for writing, and no code of the gateway
said      bytes that the gateway said, by where: stdout, an answer, an error, its command line
"""

from __future__ import annotations

import atexit
import io
import marshal
import os
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR
_write = os.write
"""The real one: a test may put a disk in its place that takes a byte at a time, and a torn record hides all that follow."""
_gateway = ""
"""The folder of its code, with a separator behind it."""
_whole = False
"""Every line of code in this process runs for the gateway; else those do that code of the gateway has called."""
_fd = -1


def record(folder: str, *, whole_process: bool) -> None:
    """Begin; before any other module of the gateway is imported, or else with those patched that are there."""
    global _whole, _gateway
    _open(folder)
    found = PathFinder.find_spec("gateway")
    assert found is not None and found.origin is not None
    _gateway, _whole = os.path.dirname(found.origin) + os.sep, whole_process
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])
    sys.meta_path.insert(0, _Patching({name: patch for name, patch in _PATCHES.items() if name not in sys.modules}))
    sys.addaudithook(_on_audit)
    if whole_process:
        _hear()


def end() -> None:
    """Close the records of the process that this one was forked from; `begin_again` has to follow."""
    os.close(_fd)


def begin_again() -> None:
    """Record a process that was forked from one that was recorded, once it has its own environment and streams."""
    _noted.clear()
    _open(os.environ["GATEWAY_TESTS_RECORDS"])
    _hear()


def _open(folder: str) -> None:
    global _fd
    _fd = os.open(os.path.join(folder, f"{os.getpid()}.records"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _hear() -> None:
    said("command line", "\0".join(sys.orig_argv))
    sys.stdout, sys.stderr = _heard(sys.stdout, "stdout"), _heard(sys.stderr, "stderr")


def said(where: str, what: str | bytes) -> None:
    note("said", where, what.encode("utf-8", "surrogateescape") if isinstance(what, str) else what)


def note(kind: str, name: str, value: str | bytes) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0]
    record = marshal.dumps((kind, test, name, value))
    with suppress(OSError):  # a test may take the room away, to see what the gateway does then
        written = _write(_fd, record)
        if written < len(record):
            os.ftruncate(_fd, os.fstat(_fd).st_size - written)


# --- files, told by the interpreter itself (docs.python.org, "Audit events table")


_noted: set[tuple[str, str]] = set()


def _on_audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = args
        if isinstance(flags, int) and flags & _WRITES:
            _opened(path)
    elif event in ("os.rename", "os.link") and (_by_the_gateway() or ("input", _absolute(args[0])) in _noted):
        _opened(args[1])  # as an editor replaces a file
    elif event == "sqlite3.connect":
        note("written", _database(args[0]), b"")  # SQLite opens it without a word; and it is the gateway's file


def _opened(path: object) -> None:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return  # a descriptor: it was opened before
    kind, name = "written" if _by_the_gateway() else "input", _absolute(path)
    if (kind, name) not in _noted:
        _noted.add((kind, name))
        note(kind, name, b"")


def _absolute(path: str | bytes | os.PathLike[Any]) -> str:
    return os.path.abspath(os.fsdecode(path))


def _database(name: Any) -> str:
    """The path of it, which may be a URI (sqlite.org/uri.html)."""
    if not (isinstance(name, str) and name.startswith("file:")):
        return _absolute(name)
    from urllib.parse import unquote  # not with the rest: a child may have no use for it

    return _absolute(unquote(name.removeprefix("file:").partition("?")[0].removeprefix("//")))


def _by_the_gateway() -> bool:
    frame = None if _whole else sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(_gateway):
        frame = frame.f_back
    return _whole or frame is not None


# --- what goes to the standard streams


class _Heard(io.FileIO):
    def __init__(self, fd: int, where: str) -> None:
        super().__init__(fd, "wb", closefd=False)
        self.name = f"<{where}>"
        self._where = where

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        said(self._where, bytes(data[:written]))
        return written


def _heard(stream: Any, where: str) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # closed
    stream.flush()
    raw = _Heard(stream.fileno(), where)
    buffered: Any = raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffered,
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


# --- what is seen by looking into the gateway


def _watch_secrets(secrets: ModuleType) -> None:
    build = secrets.Secret.__init__

    def built(self: Any, value: str) -> None:
        caller = sys._getframe(1)
        if caller.f_code.co_qualname != "Environment.secret":
            note("secret", f"built in {os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}", value)
        build(self, value)

    secrets.Secret.__init__ = built


def _watch_environment(environment: ModuleType) -> None:
    resolve, find = environment.Environment.secret, environment.Environment._secret_path

    def secret(self: Any, ref: Any, base: Any) -> Any:
        found = resolve(self, ref, base)
        note("secret", str(ref), found.reveal())
        return found

    def found(self: Any, ref: Any, base: Any) -> Any:
        path = find(self, ref, base)
        note("place", os.path.realpath(path), b"")
        return path

    environment.Environment.secret, environment.Environment._secret_path = secret, found


def _watch_errors(errors: ModuleType) -> None:
    build = errors.GatewayError.__init__

    def built(self: Any, *args: object) -> None:
        build(self, *args)
        said("an error", f"{args} {getattr(self, 'problems', '')}")

    errors.GatewayError.__init__ = built


def _watch_answers(web: ModuleType) -> None:
    build = web.Response.__init__

    def built(self: Any, **options: Any) -> None:
        build(self, **options)
        if sys._getframe(1).f_code.co_filename.startswith(_gateway):
            said("an answer", f"{options.get('headers')} ".encode() + (self.body or b""))

    web.Response.__init__ = built


def _watch_metrics(metrics: ModuleType) -> None:
    build = metrics.Metrics.__init__

    def built(self: Any) -> None:
        build(self)
        if _whole:
            atexit.register(lambda: said("metrics at the end", self.exposition()))

    metrics.Metrics.__init__ = built


def _watch_systemd(systemd: ModuleType) -> None:
    tell = systemd.Systemd._tell

    def told(self: Any, *rest: Any, **assignments: str) -> bool:
        said("what systemd is told", repr(assignments))
        return bool(tell(self, *rest, **assignments))

    systemd.Systemd._tell = told


def _watch_line_writer(module: ModuleType) -> None:
    write = module.LineWriter._write_some

    def written(self: Any, data: memoryview) -> int:
        count: int = write(self, data)
        said("stderr", bytes(data[:count]))
        return count

    module.LineWriter._write_some = written


def _watch_streams(streams: ModuleType) -> None:
    write = streams._Lossy.write

    def written(self: Any, data: Any, /) -> int:
        said("stderr", bytes(data))
        count: int = write(self, data)
        return count

    streams._Lossy.write = written


def _watch_sink(name: str) -> Callable[[ModuleType], None]:
    def patch(module: ModuleType) -> None:
        kind = getattr(module, name)
        send = kind.send

        async def sent(self: Any, delivery: Any) -> Any:
            outcome = await send(self, delivery)
            said("an outcome", repr(outcome))
            return outcome

        kind.send = sent

    return patch


_PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "gateway.core.secrets": _watch_secrets,
    "gateway.host.environment": _watch_environment,
    "gateway.core.errors": _watch_errors,
    "gateway.observability.metrics": _watch_metrics,
    "gateway.host.line_writer": _watch_line_writer,
    "gateway.cli.streams": _watch_streams,
    "gateway.host.systemd": _watch_systemd,
    "gateway.sinks.http.sink": _watch_sink("HttpSink"),
    "gateway.sinks.slack.sink": _watch_sink("SlackSink"),
    "gateway.sinks.email.sink": _watch_sink("EmailSink"),
    "aiohttp.web": _watch_answers,
}


class _Patching:
    """Patches modules right after they were imported."""

    def __init__(self, patches: dict[str, Callable[[ModuleType], None]]) -> None:
        self._patches = patches

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        patch = self._patches.pop(name, None)
        spec = PathFinder.find_spec(name, path) if patch is not None else None
        if patch is None or spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_patch(module: ModuleType) -> None:
            run(module)
            patch(module)

        spec.loader.exec_module = run_and_patch  # type: ignore[method-assign]
        return spec

"""The files of a configuration: which file is used, and which files it includes. Of all the tables, it knows only `include`."""

from __future__ import annotations

import codecs
import errno
import fnmatch
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.config import incremental
from gateway.config.location import Finding, Findings, Place, warning
from gateway.config.memo import Memo
from gateway.config.paths import AS_IT_STANDS, unfit_as_written
from gateway.config.syntax import Fault, fault
from gateway.core.errors import ConfigError, Problem
from gateway.host.environment import Environment

NAME = "gateway.toml"
_SERVICE = "legitmark-gateway"
_FOLDERS = {"RUNTIME_DIRECTORY": "run", "LOGS_DIRECTORY": "var/log", "STATE_DIRECTORY": "var/lib"}
"""The folders that systemd creates for a service (systemd.exec(5), RuntimeDirectory=)."""


class TomlFile(Struct, frozen=True):
    path: Path
    text: str
    document: dict[str, Any]


def find(given: Path | None, environment: Environment) -> Path:
    """Return the file to use: `--config`, `$GATEWAY_CONFIG`, or the first usual place that has one. Raises ConfigError."""
    named = given or (Path(value) if (value := environment.get("GATEWAY_CONFIG")) else None)
    if named is not None:
        if not _is_file(named):
            raise _unreadable(named, "does not exist, or is not a file")
        return named.absolute()
    places = [Path(NAME), Path("/etc") / _SERVICE / NAME]
    if (folder := environment.directory("CONFIGURATION_DIRECTORY")) is not None:
        places.insert(1, folder / NAME)
    denied = None
    for candidate in places:
        try:
            if _is_file(candidate):
                return candidate.absolute()
        except ConfigError as error:
            denied = error
    if denied is not None:
        raise denied
    looked = ", ".join(str(candidate) for candidate in places)
    raise _unreadable(
        Path(NAME), f"no file found; looked at {looked}", 'name one with --config FILE, or create one: "gateway init"'
    )


def as_the_service(file: Path, environment: Environment, root: Path = Path("/")) -> Environment:
    """Return the environment of the service, for a command in a person's shell that reads the configuration of the service.

    systemd sets the variables that name the folders only for the service. For any other file, and for folders that do not exist,
    the environment stays unchanged.
    """
    if file != root / "etc" / _SERVICE / NAME:
        return environment
    folders = {variable: root / parent / _SERVICE for variable, parent in _FOLDERS.items()}
    return environment.completed({variable: str(folder) for variable, folder in folders.items() if folder.is_dir()})


def read(path: Path, memo: Memo | None = None) -> TomlFile:
    """Read one file. Raises ConfigError if it cannot be read, or is not TOML."""
    try:
        if not _is_regular(path):
            raise _unreadable(path, "is a folder, not a file")
        raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from None
    memo = memo or Memo()
    return memo.get(("file", path, raw), lambda: _parsed(path, raw, memo))


def _parsed(path: Path, raw: bytes, memo: Memo) -> TomlFile:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        source = raw.split(b"\n")[before.count(b"\n")].decode(errors="replace")
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode()) + 1
        found = Fault(line, column, "is not UTF-8 here", "save the file as UTF-8")
        raise _broken(path, raw.decode(errors="replace"), source.rstrip("\r"), found) from None
    try:
        return TomlFile(path, text, incremental.parse(text, memo))
    except ValueError as error:
        found = fault(text, error)
        lines = text.split("\n")[: found.line]
        # A secret may be on its own line, below its key.
        above = next((line for line in reversed(lines) if "=" in line), "")
        found = found._replace(wrong=f"is not TOML: {found.wrong}")
        raise _broken(path, text, lines[-1].rstrip("\r"), found, above) from None
    except RecursionError:
        raise _unreadable(path, "nests tables or lists too deeply") from None


def read_table(path: Path, name: str) -> TomlFile:
    """Read one table of a file that may be broken elsewhere. The document is empty if the file has no such table.

    Raises ConfigError if the table itself is broken, or is not written as `[name]`.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
        block = re.search(rf"^\s*\[\s*{name}\s*\][^\n]*\n(?:(?!\s*\[)[^\n]*\n?)*", text, re.MULTILINE)
        if block is None and re.search(rf"^\s*['\"]?{name}\b", text, re.MULTILINE):
            return read(path)
        return TomlFile(path, text, tomllib.loads(block[0]) if block else {})
    except (OSError, ValueError, RecursionError):
        return read(path)


def included(main: TomlFile, findings: Findings, memo: Memo | None = None) -> list[TomlFile]:
    """Return the drop-in files that `include` names, in the order of the patterns, and by name for each pattern.

    Raises ConfigError with the problems of every unreadable file, because the rest cannot be checked without them.
    """
    patterns = main.document.get("include", [])
    where = Place(main.path, ("include",))
    if not isinstance(patterns, list):
        findings.append(Finding(where, "must be a list of patterns", 'write ["routes.d/*.toml"]'))
        return []
    paths: dict[Path, None] = {}
    for number, pattern in enumerate(patterns):
        if not isinstance(pattern, str):
            findings.append(Finding(where / number, "is not a string", 'write a pattern such as "routes.d/*.toml"'))
            continue
        if (trouble := unfit_as_written(pattern)) is not None:
            findings.append(Finding(where / number, trouble, AS_IT_STANDS))
            continue
        try:
            named = _matching(main.path.parent, pattern)
            matching = [path for path in named if _is_regular(path)]
        except ValueError:
            findings.append(Finding(where / number, f'"{pattern}" is not a pattern of files', 'write "routes.d/*.toml"'))
            continue
        except OSError as error:
            hint = "the matching files cannot be determined: let this user read the folder, or remove the broken entry"
            findings.append(Finding(where / number, f"{error.filename or pattern}: {error.strerror}", hint))
            continue
        if _has_signs(pattern) and pattern.endswith(".toml"):  # other patterns, such as "routes.d/*", match folders on purpose
            ignored = [path for path in named if path not in matching]
            findings += [warning(where / number, f"{path}: is a folder, and is ignored") for path in ignored]
        if not matching and not _has_signs(pattern):
            folder = (main.path.parent / pattern).is_dir()
            said = f"{pattern} is a folder" if folder else f"{pattern} does not exist, or is not a file"
            findings.append(Finding(where / number, said, f'for its files: "{Path(pattern)}/*.toml"' if folder else ""))
        paths |= dict.fromkeys(path for path in matching if path != main.path)
    files: list[TomlFile] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            files.append(read(path, memo))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(str(main.path), problems)
    return files


def missing_folders(main: TomlFile) -> Iterator[Problem]:
    """Yield a note for each pattern of `include` whose folder does not exist. An installation without drop-in files is valid.

    Call it only if the patterns have no other problem.
    """
    for pattern in main.document.get("include", []):
        if (missing := _missing_folder(main.path.parent, pattern)) is not None:
            wrong = f'{missing}: does not exist, so "{pattern}" matches no file'
            yield Problem(
                file=str(main.path),
                place="include",
                wrong=wrong,
                hint="create the folder, or correct the pattern",
                level="note",
            )


def _is_file(path: Path) -> bool:
    """Return True for a regular file, and False for a folder or a path that does not exist.

    Raises ConfigError for a dangling link, a pipe or a device, and if this user may not look there.
    """
    try:
        return _is_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise _unreadable(path, "is a link to a file that does not exist: No such file or directory") from None
        return False
    except PermissionError:
        raise _unreadable(
            path, "is in a folder that this user may not read", "be root, or join the group of the folder"
        ) from None
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from None


def _missing_folder(base: Path, pattern: str) -> Path | None:
    """Return the folder before the first wildcard if it does not exist; None if it exists, or if there is no wildcard."""
    written: list[str] = []
    for part in Path(pattern).parts:
        if _has_signs(part):
            folder = base.joinpath(*written)
            return None if _there(folder) else folder
        written.append(part)
    return None


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return the files and folders that match a pattern, sorted by name.

    Raises ValueError if the text is not a pattern, and OSError for an unreadable folder, a dangling link, or any other entry
    that may be a file of the configuration but cannot be examined. `Path.glob` would silently skip these.
    """
    if "\0" in pattern:
        raise ValueError("has a NUL character in it")
    base = Path(pattern)
    if not base.name:  # "", "." and "/", for which glob raises other errors
        raise ValueError("names no file")
    if base.is_absolute():
        folder, pattern = Path(base.anchor), str(base.relative_to(base.anchor))
    list(folder.glob(pattern))  # raises ValueError if this is not a pattern
    found, written_out = {folder}, True
    for part in Path(pattern).parts:
        parents = [path for path in found if _is_folder(path, has_to=written_out)]
        found = {path for parent in parents for path in _named(parent, part)}
        written_out = not _has_signs(part)
    return sorted(found)


def _named(folder: Path, part: str) -> Iterator[Path]:
    """Yield the entries of a folder that match one part of a pattern."""
    if part == "**":
        yield folder
        for inner in _listed(folder):
            if stat.S_ISDIR(inner.lstat().st_mode):  # a link could lead in a circle
                yield from _named(inner, part)
    elif _has_signs(part):
        yield from (path for path in _listed(folder) if fnmatch.fnmatchcase(path.name, part))
    elif _there(folder / part):
        yield folder / part


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if stat.S_ISDIR(folder.stat().st_mode) else []


def _there(path: Path) -> bool:
    """Return True if a name exists, even as a dangling link. Raises OSError if this user may not look."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _has_signs(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _is_folder(path: Path, *, has_to: bool) -> bool:
    """Return True for a folder. Raises OSError for a dangling link, and if `has_to` is set, for anything but a folder."""
    if stat.S_ISDIR(path.stat().st_mode):
        return True
    if has_to:
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(path))
    return False


def _is_regular(path: Path) -> bool:
    """Return True for a regular file, and False for a folder. Raises OSError for a dangling link, a pipe or a device."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return stat.S_ISREG(mode)
    raise OSError(errno.EINVAL, "is a pipe, a socket or a device, not a file", str(path))


def _unreadable(path: Path, wrong: str, hint: str = "") -> ConfigError:
    return ConfigError(str(path), [Problem(file=str(path), place="file", wrong=wrong, hint=hint)])


def _broken(path: Path, text: str, source: str, found: Fault, above: str = "") -> ConfigError:
    from gateway.config.problems import masked
    from gateway.config.secrecy import Cleaner

    problem = Problem(
        file=str(path),
        place="file",
        wrong=found.wrong,
        hint=found.hint,
        line=found.line,
        column=found.column,
        source=masked(source, unparsed=above or source),
        width=found.width,
    )
    return ConfigError(str(path), [Cleaner([text]).problem(problem)])

"""One HTTP/1.1 answer as its bytes come (RFC 9112), without any I/O.

It must never overrule a verdict: once a status line has come, the bytes after it may cost the connection and nothing more. So the
reader tolerates odd bytes, and is strict about `reusable`: any doubt about the end of an answer closes the connection.
"""

from __future__ import annotations

import re

MOST_BODY = 16 * 1024
"""Bytes of a body that are kept by default."""
MOST_HEAD = 64 * 1024
"""Bytes of status lines and fields together, with those of interim answers, trailers and chunk sizes."""
MOST_FIELDS = 256
MOST_INTERIM = 16
"""Interim answers, from 100 to 199, that may come before the final one (RFC 9110, section 15.2)."""
_MOST_LINE = 1024
"""Bytes of the line before a chunk, its extensions included."""

_BEGINNING = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([^\r\n]*))?\r?\n")
_CUT_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9]) ")
"""The beginning of a status line whose text is longer than a whole head may be."""
_HEAD_END = re.compile(rb"\n\r?\n")
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n")
"""RFC 9112, section 5, with the end of its line."""
_FIELDS = re.compile(rb"(?:%b)*+" % _FIELD.pattern)
_USUAL = re.compile(rb"HTTP/1\.1 ([2-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n(?:%b)*+\r\n" % _FIELD.pattern)
"""A whole head with nothing odd in it, as nearly every server sends one."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_KEPT_FOR = re.compile(rb"(?i)timeout=([0-9]{1,9})")
_KNOWN = re.compile(rb"(?i)\n(content-length|transfer-encoding|connection|keep-alive|retry-after)[ \t]*:([^\n]*)(?=\n)")
"""The fields that matter here, each behind the end of the line before it."""


class NotHttpError(ValueError):
    """The other side sent something that is not a status line of HTTP/1."""


class AnswerReader:
    """Reads one answer. Call `feed` until `done`; every byte after that is one too many."""

    def __init__(self, most_body: int = MOST_BODY, *, to_connect: bool = False) -> None:
        """
        Args:
            most_body: bytes of the body that are kept; a longer body is not read to its end.
            to_connect: the answer is one to CONNECT: with a status of 2xx it ends with its head.
        """
        self._most_body = most_body
        self._to_connect = to_connect
        self.status: int | None = None
        """The verdict, as soon as its line has come. Interim answers do not count, except 101, which ends HTTP."""
        self.retry_after: str | None = None
        self.body = bytearray()
        """The beginning of the body, without the framing."""
        self.done = False
        """True once nothing more will be read."""
        self.reusable = False
        """True if the answer ended where it said, nothing in it was odd, and the other side keeps the connection open."""
        self.surplus = False
        """True if bytes came behind a head without a body, or the head was too long to be read to its end."""
        self.kept_for: float | None = None
        """Seconds for which the other side keeps an idle connection, if it says so (`Keep-Alive: timeout=5`)."""
        self._head = bytearray()
        """The bytes of an unfinished head, or later of an unfinished line between chunks."""
        self._seen = 0
        """Bytes of skipped heads and of lines between chunks."""
        self._searched = 0
        """Bytes at the beginning of `_head` in which a head does not end."""
        self._interim = 0
        self._odd = False
        self._keep = False
        self._in_head = True
        self._left: int | None = None
        """Bytes until the end of the body or chunk; None means until the end of the connection."""
        self._chunked = False
        self._behind_chunk = False
        self._trailers = False

    def feed(self, data: bytes) -> None:
        """Read more bytes. Raises NotHttpError if they cannot be a status line."""
        if self.done:
            self.reusable, self.surplus = False, True
        elif self._in_head:
            if not self._head and not self._seen and (usual := _USUAL.match(data)) is not None and usual.end() <= MOST_HEAD:
                self._read_usual(usual, data)
                return
            self._head += data
            while self._in_head and not self.done and self._read_head():
                pass
        elif self._chunked:
            self._head += data
            self._read_chunks()
        else:
            self._read_body(data)

    def end(self) -> None:
        """Take note that the other side has closed. The answer is complete if its status is known."""
        self.reusable = False
        if self.status is not None:
            if self._in_head:
                self._take_fields(bytes(self._head))
            self.done = True

    def _read_usual(self, head: re.Match[bytes], data: bytes) -> None:
        """Read a head that came in one piece. `_read_head` reads it the same way, and takes twice as long."""
        end = head.end()
        self.status, self._keep, self._in_head = int(head[1]), True, False
        self._odd |= data.count(b"\n", 0, end) > MOST_FIELDS + 2
        self._frame(self._known(data[: end - 2]))
        if end < len(data):
            self.feed(data[end:])

    def _read_head(self) -> bool:
        """Read one head. Return False if more bytes are needed."""
        head = self._head
        if self.status is None and head.startswith((b"\r", b"\n")):  # old servers send empty lines between answers
            self._odd = True
            del head[: len(head) - len(head.lstrip(b"\r\n"))]
        if not head.startswith(_BEGINNING[: len(head)]):
            raise NotHttpError
        line = None
        if self.status is None:
            line = _STATUS.match(head)
            if line is not None:
                self._take_status(line)
            elif b"\n" in head:
                raise NotHttpError
        end = _HEAD_END.search(head, max(self._searched - 2, 0))
        self._searched = 0 if end else len(head)
        if end is None or self._seen + end.end() > MOST_HEAD:
            return self._overflow() if self._seen + len(head) > MOST_HEAD else False
        whole, rest = bytes(head[: end.start() + 1]), bytes(head[end.end() :])
        if self.status is None:  # an interim answer, whole
            self._interim += 1
            self._seen += end.end()
            if self._interim > MOST_INTERIM:
                raise NotHttpError
            del head[: end.end()]
            return bool(head)
        self._odd |= end[0] != b"\n\r\n"
        head.clear()
        self._in_head = False
        self._frame(self._take_fields(whole))
        if rest:
            self.feed(rest)
        return False

    def _take_status(self, line: re.Match[bytes]) -> None:
        status = int(line[2])
        if 100 <= status < 200 and status != 101:
            return
        self.status = status
        self._keep = line[1] != b"0"
        self._odd |= _CONTROL.search(line[3] or b"") is not None or not line[0].endswith(b"\r\n")

    def _overflow(self) -> bool:
        if self.status is None:
            line = _CUT_STATUS.match(self._head)
            if line is None or line[2].startswith(b"1"):
                raise NotHttpError
            self.status = int(line[2])
        else:
            self._take_fields(bytes(self._head[:MOST_HEAD]))
        self._head.clear()
        self.done = self.surplus = True
        return False

    def _take_fields(self, head: bytes) -> dict[bytes, list[bytes]]:
        """Do the same as `_known`, and look for odd lines."""
        self._odd |= _FIELDS.fullmatch(head, head.find(b"\n") + 1) is None or head.count(b"\n") > MOST_FIELDS + 1
        return self._known(head)

    def _known(self, head: bytes) -> dict[bytes, list[bytes]]:
        """Return the values of the fields that matter here, by name. A last line without its end does not count."""
        known: dict[bytes, list[bytes]] = {}
        for field in _KNOWN.finditer(head):
            known.setdefault(field[1].lower(), []).append(field[2].strip(b" \t\r"))
        if said := known.get(b"retry-after"):
            self.retry_after = said[0].decode("utf-8", "replace")
        return known

    def _frame(self, known: dict[bytes, list[bytes]]) -> None:
        """Find out where the body ends (RFC 9112, section 6.3), and whether the connection stays open (section 9.3)."""
        old = not self._keep
        if said := known.get(b"connection"):
            options = {option.strip().lower() for option in b",".join(said).split(b",")}
            self._keep = b"close" not in options and (self._keep or b"keep-alive" in options)
        if (kept := _KEPT_FOR.search(b",".join(known.get(b"keep-alive", ())))) is not None:
            self.kept_for = float(kept[1])
        codings, lengths = known.get(b"transfer-encoding", []), known.get(b"content-length", [])
        if self.status == 101:
            self._odd = self.done = True
        elif self._to_connect and self.status is not None and 200 <= self.status < 300:
            self._left = 0  # whatever its fields say (RFC 9110, section 9.3.6)
        elif self.status in (204, 304):
            self._odd |= bool(codings)
            self._left = 0
        elif codings:
            named = [coding.strip().lower() for coding in b",".join(codings).split(b",")]
            self._chunked = named[-1] == b"chunked"
            self._odd |= bool(lengths) or old or not self._chunked or named.count(b"chunked") > 1
            self._left = 0 if self._chunked else None
        elif lengths:
            self._odd |= len(lengths) > 1
            valid = len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0]) is not None
            self._odd |= not valid
            self._left = int(lengths[0]) if valid else None
            self._keep &= self._left is None or self._left <= self._most_body  # a longer one is not read to its end
        if self._left == 0 and not self._chunked:
            self._finish()

    def _finish(self) -> None:
        self.done = True
        self.reusable = self._keep and not self._odd

    def _keep_some(self, data: bytes) -> None:
        self.body += data[: self._most_body - len(self.body)]

    def _read_body(self, data: bytes) -> None:
        left = self._left
        if left is not None and len(data) >= left:
            self._keep_some(data[:left])
            self._finish()
            self.reusable = self.reusable and len(data) == left
            return
        self._keep_some(data)
        if left is not None:
            self._left = left - len(data)
        self.done = len(self.body) >= self._most_body

    def _read_chunks(self) -> None:
        """Read chunks (RFC 9112, section 7.1). An odd byte ends the reading, because the verdict has come."""
        waiting = self._head
        while not self.done:
            if self._left:
                data = bytes(waiting[: self._left])
                del waiting[: self._left]
                self._keep_some(data)
                self._left -= len(data)
                self._behind_chunk = self._left == 0
                self.done = len(self.body) >= self._most_body
                if self._left:
                    return
            end = waiting.find(b"\n")
            if end < 0:
                self.done |= len(waiting) > _MOST_LINE
                return
            line = bytes(waiting[:end])
            del waiting[: end + 1]
            self._seen += end + 1
            if self._seen > MOST_HEAD or end > _MOST_LINE:
                self.done = True
            elif not self.done:
                self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        """Read a line between chunks, without its LF."""
        if self._behind_chunk:
            self._behind_chunk = False
            self.done = line != b"\r"
        elif self._trailers:
            self._read_trailer(line)
        elif (size := _CHUNK.fullmatch(line)) is None:
            self.done = True
        else:
            self._left = int(size[1], 16)
            self._trailers = self._left == 0

    def _read_trailer(self, line: bytes) -> None:
        if line == b"\r":
            self._finish()
            self.reusable = self.reusable and not self._head
        elif _FIELD.fullmatch(line + b"\n") is None:
            self.done = True

"""Writes the records of one file of evidence in their order, and counts what it has written."""

from __future__ import annotations

from gateway.core.evidence_file import LineRecord, MessageRecord, Record, RecordWriter, RulesRecord, SealRecord, about
from gateway.core.seals import read_seal


class EvidenceWriter:
    """Encodes the records of a file. The caller brings them in the order that `evidence_file` lists."""

    def __init__(self) -> None:
        self.messages = 0
        self.lines = 0
        self.proven = 0
        """Lines under a seal."""
        self.seals = 0
        self.head: str | None = None
        """The last seal in the file; None if there is none."""
        self._records = RecordWriter()
        self._rules: set[int] = set()

    def begin(self, asked: str, *, now: float, version: str) -> bytes:
        """Return the first record. `now` is Unix seconds, UTC."""
        return self._records.encoded(about(asked, now=now, version=version))

    def encoded(self, record: Record) -> bytes:
        """Return the line of the next record, with its line break; b"" for rules that the file has already."""
        match record:
            case RulesRecord():
                if record.number in self._rules:
                    return b""
                self._rules.add(record.number)
            case MessageRecord():
                self.messages += 1
            case LineRecord():
                self.lines += 1
                self.proven += record.seal is not None
            case SealRecord(line=line):
                self.seals += 1
                if (seal := read_seal(line.encode())) is not None:
                    self.head = seal.seal
            case _:
                pass
        return self._records.encoded(record)

    def end(self) -> bytes:
        """Return the last line."""
        return self._records.end()

"""The reference ids of partners, as people type them: in any case, with spaces around them, in full-width letters."""

from __future__ import annotations

import unicodedata


def folded(reference_id: str) -> bytes:
    """Return the form in which two spellings of a reference id are equal (Unicode NFKC, then full case folding)."""
    if reference_id.isascii():
        return reference_id.strip().lower().encode()
    return unicodedata.normalize("NFKC", reference_id).strip().casefold().encode()

"""The bounds of a page: it looks at so few rows that it takes less than 25 ms, and 50 ms in PostgreSQL, whatever the filters.

A page that has looked at so many rows ends there, and says where to go on. It may be short, or empty, before the last one.
"""

from __future__ import annotations

END = 2**63 - 1
"""A seq beyond every message."""
LOOKED_AT = 10_000
"""Rows of a table, or entries of an index, that a page walks."""
LOOKED_UP = 1000
"""Deliveries that a page finds in the index of a state, and then looks up one by one."""
BLOCKS = 2048
"""Blocks of 256 messages that a page looks into: half a million messages."""
MOST_QUEUED = 20_000
"""Queued deliveries that a page puts in order. More of them are a good part of the table, which is walked instead."""
MOST_COUNTED = 100_000
"""Queued deliveries among which a page looks for the first one."""
MOST_DEAD = 1000
"""Dead deliveries in one page: about 20 µs each."""
MOST_ACTS = 5000
"""Acts on deliveries in one page."""
MOST_RULES = 1000
"""Rules that are kept although others replaced them. A snapshot of a thousand routes has about 200 KiB."""
MOST_SINK_ACTS = 10_000
"""Acts on sinks that are kept."""
NEWEST = 3000
"""Messages, and attempts at all sinks, among which the last attempts at one sink are looked for."""
WAITING = 20
"""Dead deliveries, and deliveries that wait for their next attempt, whose last attempts count as well."""

FEW_OF_IDS = 10_000
"""Messages that a page finds by their ids and puts in order; more are a good part of the table, which is walked instead."""
FEW_OF_REQUESTS = 4000
"""Messages that a page finds by their requests: each is a look at a page of the file that no other message has led to."""
FEW_REQUESTS = 1000
"""Requests whose messages a page puts in order. More of them have more messages than that, as a rule."""
MOST_OF_A_REFERENCE = 10_000
"""Requests with one reference id that are found, the latest ones."""

MOST_ATTEMPTS = 20
"""The last attempts at each delivery that a story tells. `attempts` has all of them, in pages."""
MOST_CONFLICTS = 10
"""Conflicting duplicates that a story tells: the body of each may be as large as a message."""
CONFLICTS_ORDERED = 1000
"""Conflicting duplicates among which the query looks for the earliest ones."""
MOST_ACTS_OF_A_MESSAGE = 100
"""Acts on the deliveries of one message that are told."""
MOST_DELIVERIES = 2000
"""Deliveries in one page of the story of a request; the page ends with the message that exceeds it."""
MOST_BODY = 64 * 1024
"""Bytes of the longest body that the story of a request has."""

REQUESTS_LOOKED_AT = 2000
"""Requests that a page of a list looks at."""
FLAGGED_LOOKED_AT = 20_000
"""Entries of the index of flagged requests that a page looks at, most of which lead to no row."""
COUNTED_IN_PAGE = 500
"""Messages whose deliveries a page of a list counts. They lie as far apart as they came."""
COUNTED_OF_A_REQUEST = 256
"""Messages of a request whose deliveries are counted."""
HEARD_LOOKED_AT = 256
"""Messages of a request among which one that its sink has been told of later is looked for, the newest ones."""

"""Every exception Gapless raises on purpose, by who must act.

    GaplessError
    ├── InvalidRequest        the caller asked for something that cannot be; asking again will not help
    │   └── NotFound          ... because what it names does not exist
    ├── Conflict              a race was lost or a number is stale: read again, then decide again
    │   └── LostRace          ... to another writer of the store: doing the same once more, from the start, is right
    ├── Unavailable           something outside is not there right now; a bounded retry is right
    │   └── StoreUnavailable  ... the database: gone, locked, read-only or full
    ├── Refused               the other side understood and said no; a person has to change something
    └── InvariantError        a bug: stop, and start again from levels

Adapters translate foreign errors into these once, at the edge where they meet the foreign library. Beside the tree are
only exceptions that one edge catches itself, and that nobody has to act upon: bytes that are no message
(`wire.messages.Malformed`), a datagram that leads to nothing (`wire.lease.Dropped`), a parent that is gone.
"""


class GaplessError(Exception):
    """Base of every error that Gapless raises on purpose; its text is written for an operator."""


class InvalidRequest(GaplessError):
    """The request cannot be carried out as it stands; the text says what to change."""


class NotFound(InvalidRequest):
    """What the request names does not exist."""


class Conflict(GaplessError):
    """Another writer was first, or an epoch, revision or incarnation is older than what is known."""


class LostRace(Conflict):
    """A constraint of the store refused what another writer stored first; nothing of the transaction is left."""


class Unavailable(GaplessError):
    """A peer, the kernel or a file is not usable right now; retrying a bounded number of times is right."""


class StoreUnavailable(Unavailable):
    """The database cannot be read or written: gone, locked, read-only or full."""


class Refused(GaplessError):
    """The other side said no, and will go on saying no until a person changes something."""


class InvariantError(GaplessError):
    """Something that cannot happen did. The text carries the recent story."""

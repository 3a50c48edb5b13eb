"""Keys for a batch of messages, in the order of the batch; and keys as a column holds them."""

from __future__ import annotations

import time
from os import urandom
from uuid import UUID, SafeUUID

_COUNTERS = 1 << 12
_new, _set = object.__new__, object.__setattr__
_VARIANT, _RANDOM = 0x2 << 62, (1 << 62) - 1


def ordered_keys(count: int) -> list[str]:
    """UUIDs of version 7, as 32 hex digits, that rise within the batch (RFC 9562 section 6.2).

    Their order keeps an audience's; nothing else hangs on the node's clock in them. The last
    62 bits are random.
    """
    millisecond, counter = time.time_ns() // 1_000_000, 0
    noise = urandom(8 * count)
    keys = []
    for place in range(0, 8 * count, 8):
        random = int.from_bytes(noise[place : place + 8], "big") & _RANDOM | _VARIANT
        keys.append(f"{millisecond:012x}7{counter:03x}{random:016x}")
        counter += 1
        if counter == _COUNTERS:
            millisecond, counter = millisecond + 1, 0
    return keys


def key_of(digits: str) -> UUID:
    """The UUID of 32 hex digits that the database holds: they were a UUID's, so nothing is asked.

    ``UUID(hex=…)`` takes three times as long, for each message that is claimed.
    """
    key = _new(UUID)
    _set(key, "int", int(digits, 16))
    _set(key, "is_safe", SafeUUID.unknown)
    return key

"""Which outcomes a webhook is told of: names, or beginnings of names with a star."""

from __future__ import annotations

from collections.abc import Sequence

from ignition_ext.errors import ConfigurationError
from ignition_ext.outcomes.outbox import EventName

EVERYTHING = "*"
MESSAGE_NAMES = frozenset(name for name in EventName if name.startswith("ignition.message."))
"""What is derived from the ledger, and comes in batches."""


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether one of the patterns is the name, or its beginning with ``*`` after it."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


def checked_patterns(patterns: Sequence[str]) -> list[str]:
    """The patterns, each once; all outcomes where none is given.

    Raises:
        ConfigurationError: one matches no outcome, such as a misspelt name.
    """
    for pattern in patterns:
        if not any(matches([pattern], name) for name in EventName):
            raise ConfigurationError(
                f"no outcome is called {pattern!r}.",
                mend="docs/events.md lists the names; ignition.message.* means all that begin so.",
            )
    return list(dict.fromkeys(patterns)) or [EVERYTHING]

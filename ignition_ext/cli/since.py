"""What stands behind ``--since``: how long ago, or when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ignition_ext.campaigns.duration import parse_duration
from ignition_ext.errors import ConfigurationError


def since_of(value: str | None) -> datetime | None:
    """The moment that a duration or a time means; a time without a zone is UTC.

    Raises:
        ConfigurationError: it is neither.
    """
    if value is None:
        return None
    try:
        ago = parse_duration(value)
    except ValueError:
        ago = None
    if isinstance(ago, timedelta):
        return datetime.now(UTC) - ago
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ConfigurationError(
            f"--since {value!r} is neither a duration nor a time.",
            mend="Write 2h, 3d or 2026-11-21T08:00Z.",
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

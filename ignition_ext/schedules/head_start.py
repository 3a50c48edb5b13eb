"""When a run asks Prefect to let it begin, so that it is ready when its time comes.

Prefect's server rounds what is left until a run's time to whole seconds: it has the run wait for
so long, and lets it begin when less than half a second is left. A run that asks at any moment
begins up to half a second early or late, by chance; one that asks so many whole seconds and a
little less than a half before its time begins just that little before it.
"""

from __future__ import annotations

from datetime import timedelta

HEAD_START = timedelta(seconds=0.45)
"""How long before its time a run begins, at most: just below what the server rounds up to a whole
second, and enough to read a campaign and its audience on a machine that is not busy."""
_SECOND = timedelta(seconds=1)


def wait_for_head_start(left: timedelta) -> timedelta:
    """How long a run waits before it asks, less than a second.

    Args:
        left: until its time; negative when that has passed.
    """
    if left <= HEAD_START:
        return timedelta(0)
    return (left - HEAD_START) % _SECOND

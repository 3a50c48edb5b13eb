"""The right to open a bind, where something outside counts binds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

Slot = Callable[[], AbstractAsyncContextManager[object]]
"""Entered before a bind is opened, left when its connection is closed for good.

Entering may wait for as long as others hold all binds; it is cancelled when no bind is wanted any
more, and raises a ``ChannelError`` to give up. A bind that is lost and made anew keeps its slot.
Leaving must not raise.
"""


def no_limit() -> AbstractAsyncContextManager[object]:
    """Any number of binds."""
    return nullcontext()

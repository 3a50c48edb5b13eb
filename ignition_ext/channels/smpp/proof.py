"""Learns which acknowledgements of texts have reached the SMSC.

A deliver_sm bears no number of its own that outlives its link, so a text that comes again may be
the same one, brought again because our answer was lost, or the same words said anew. But an SMSC
reads our octets in their order: once it answers an enquire_link, it has read what we wrote before,
and whatever it brings from then on is new.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.incoming import SmsFragment
from ignition_ext.channels.smpp.session import Session

logger = logging.getLogger(__name__)

PROMPT_SECONDS = 5.0
"""An answer that took longer proves nothing, though it is read: the SMSC may have given up waiting
and bring the text again. SMSCs wait for 10 s and more."""
_PATIENCE_SECONDS = 5.0
"""An enquire_link that is not answered in this time proves nothing. A bind that is left waits no
longer for the last one."""

_PAUSE_SECONDS = 1.0
"""Between two questions on a bind: texts may come by the hundred a second, and providers who want
an enquire_link each half a minute may take offence at a flood of them."""

Tell = Callable[[Sequence[SmsFragment]], Awaitable[None]]


class Proofs:
    """Asks each bind after texts were acknowledged there, one enquire_link at a time.

    Args:
        tell: called with the texts whose acknowledgement the SMSC has.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._texts: dict[Session, list[SmsFragment]] = {}
        self._tasks: dict[Session, asyncio.Task[None]] = {}
        self._hurry = asyncio.Event()

    def acknowledged(self, session: Session, texts: Sequence[SmsFragment]) -> None:
        """Texts were answered a moment ago."""
        self._texts.setdefault(session, []).extend(texts)
        if session not in self._tasks:
            self._tasks[session] = asyncio.create_task(self._prove(session), name="proof")

    async def settled(self) -> None:
        """Wait until each bind has answered, or is not expected to."""
        self._hurry.set()
        try:
            await asyncio.gather(*self._tasks.values())
        finally:
            self._hurry.clear()

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prove(self, session: Session) -> None:
        try:
            while session.is_open and (texts := self._texts.pop(session, [])):
                await session.request(codec.encode_enquire_link, _PATIENCE_SECONDS)
                await self._tell(texts)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), _PAUSE_SECONDS)
        except (TimeoutError, ConnectionError) as error:
            logger.debug("nobody knows whether acknowledgements arrived: %r", error)
        except Exception:
            # What is not noted counts as brought again if it comes again: the cautious reading.
            logger.exception("it could not be noted that acknowledgements arrived")
        finally:
            self._texts.pop(session, None)
            self._tasks.pop(session, None)

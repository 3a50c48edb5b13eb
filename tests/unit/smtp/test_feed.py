"""The feed: what one connection gives back another one gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ignition_ext.channels.smtp import EmailEnvelope
from ignition_ext.channels.smtp.feed import Feed
from ignition_ext.values import MessageId, new_id


async def _one() -> AsyncIterator[EmailEnvelope]:
    yield EmailEnvelope(
        message_id=MessageId(new_id()),
        envelope_from="news@example.com",
        recipient="ada@example.org",
        content=b"Subject: one\r\n\r\none\r\n",
        smtputf8=False,
    )


async def test_the_last_envelope_can_still_be_given_back() -> None:
    """A connection with nothing to do stays while another one may fail with the last envelope."""
    feed = Feed(_one(), ahead=2)
    held = await feed.take()
    assert held is not None
    other = asyncio.create_task(feed.take())
    await feed.pump

    feed.give_back(held)
    feed.finish()

    assert await other is held
    feed.finish()
    assert await feed.take() is None


async def test_a_closed_feed_ends_though_envelopes_are_held() -> None:
    """After a stop nobody waits for an envelope that another connection holds."""
    feed = Feed(_one(), ahead=2)
    held = await feed.take()
    other = asyncio.create_task(feed.take())
    await feed.pump

    feed.close()

    assert await other is None
    assert held is not None
    feed.give_back(held)
    assert await feed.take() is None

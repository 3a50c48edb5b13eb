"""Who is turned away at a claim: over a frequency cap, not interested, forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.wishes import digest
from ignition_ext.models import CampaignVersion, ForgottenAddress, ForgottenKey, Preference
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import Channel, MessageState, Outcome

ADA, BOB, CLEO = "ada@example.com", "bob@example.com", "cleo@example.com"
MINUTE = timedelta(minutes=1)
KEY = "5f" * 32


async def cap(scene: Any, *caps: tuple[int, int], channel: Channel = Channel.EMAIL) -> None:
    value = [{"messages": messages, "days": days} for messages, days in caps]
    await set_tenant_setting(
        scene.database, tenant="acme", key=f"caps.{channel}", value=value or None, actor="test"
    )


async def apply_version(scene: Any, **definition: Any) -> None:
    """The version that the scene's runs are of says this."""
    async with scene.database.write() as session:
        session.add(
            CampaignVersion(
                tenant_id=scene.tenant_id,
                campaign_id=scene.campaign_id,
                version=1,
                digest="0",
                definition=definition,
            )
        )


async def add(scene: Any, *rows: Any) -> None:
    async with scene.database.write() as session:
        session.add_all(rows)


async def send(scene: Any, run: Any, outcome: Outcome) -> list[str]:
    """Send all that may be; who was written to."""
    lease, ids = await scene.sending(run)
    for key in ids.values():
        await scene.settle(run, lease, key, outcome)
    return sorted(ids)


async def test_a_cap_holds_over_all_campaigns_of_a_tenant(scene: Any, accepted: Any) -> None:
    """The third message within the days is suppressed and says so, also in its event."""
    await cap(scene, (2, 7))
    for _ in range(2):
        assert await send(scene, await scene.run(ADA), accepted()) == [ADA]

    run = await scene.run(ADA, BOB)
    assert await send(scene, run, accepted()) == [BOB]

    row = (await scene.rows(run))[ADA]
    assert (row["state"], row["detail"]) == ("suppressed", "over the frequency cap: 2 in 7 days")
    assert await scene.events(row["message_id"]) == [("claimed", "suppressed")]
    details = await scene.execute("SELECT detail FROM message_event WHERE new_state = 'suppressed'")
    assert details == [("over the frequency cap: 2 in 7 days",)]


async def test_each_of_several_caps_holds(scene: Any, accepted: Any) -> None:
    """One a day, and two in a week."""
    await cap(scene, (1, 1), (2, 7))
    assert await send(scene, await scene.run(ADA), accepted()) == [ADA]
    assert await send(scene, await scene.run(ADA), accepted()) == []
    await scene.days_pass(2)
    assert await send(scene, await scene.run(ADA), accepted()) == [ADA]
    await scene.days_pass(2)

    run = await scene.run(ADA)
    assert await send(scene, run, accepted()) == []

    assert (await scene.rows(run))[ADA]["detail"] == "over the frequency cap: 2 in 7 days"


async def test_a_cap_is_of_one_channel(scene: Any, accepted: Any) -> None:
    """What goes by email is nothing to the telephone."""
    await cap(scene, (1, 7))
    for _ in range(2):
        run = await scene.run("+4915123456789", channel=Channel.SMS)
        assert await send(scene, run, accepted()) == ["+4915123456789"]


async def test_what_was_given_back_or_refused_does_not_count(
    scene: Any, accepted: Any, refused: Outcome, deferred: Outcome
) -> None:
    """Only what a person may have got uses up a cap."""
    await cap(scene, (1, 7))
    returned, never, later = await scene.run(ADA), await scene.run(ADA), await scene.run(ADA)
    lease, _ = await scene.claim(returned)
    assert await scene.claim(later) != ({}, {})
    await scene.ledger.release(returned, lease)
    assert (await scene.states(later))[ADA] == "suppressed"

    assert await send(scene, never, refused) == [ADA]
    assert await send(scene, returned, deferred) == [ADA]

    assert await send(scene, await scene.run(ADA), accepted()) == [ADA]
    assert await send(scene, returned, accepted()) == []
    assert (await scene.states(returned))[ADA] == "suppressed"


async def test_what_may_have_arrived_counts(scene: Any, unknown: Outcome, accepted: Any) -> None:
    """Nobody gets a second one because the first one's fate is not known."""
    await cap(scene, (1, 7))
    assert await send(scene, await scene.run(ADA), unknown) == [ADA]

    assert await send(scene, await scene.run(ADA), accepted()) == []


async def test_a_message_does_not_stand_in_its_own_way(
    scene: Any, deferred: Outcome, accepted: Any
) -> None:
    """Tried again after a refusal for now, it is the same one."""
    await cap(scene, (1, 7))
    run = await scene.run(ADA)
    for _ in range(2):
        assert await send(scene, run, deferred) == [ADA]

    assert await send(scene, run, accepted()) == [ADA]


async def test_a_campaign_may_ignore_the_caps(scene: Any, accepted: Any) -> None:
    """A receipt is neither held back by news nor in their way."""
    await cap(scene, (1, 7))
    assert await send(scene, await scene.run(ADA), accepted()) == [ADA]
    await apply_version(scene, delivery={"ignore_caps": True})
    for _ in range(2):
        assert await send(scene, await scene.run(ADA, BOB), accepted()) == [ADA, BOB]
    await scene.execute("DELETE FROM campaign_version")

    assert await send(scene, await scene.run(ADA, BOB), accepted()) == [BOB]


async def test_without_a_cap_nothing_is_kept(scene: Any, accepted: Any) -> None:
    """Nor after it was taken away."""
    await send(scene, await scene.run(ADA), accepted())
    await cap(scene, (1, 7))
    await cap(scene)
    await send(scene, await scene.run(ADA), accepted())

    assert await scene.execute("SELECT * FROM capped_message") == []


async def test_what_can_count_no_more_is_not_kept(scene: Any, accepted: Any) -> None:
    """An address has as many rows as its caps can see."""
    await cap(scene, (5, 2))
    for _ in range(4):
        await send(scene, await scene.run(ADA), accepted())
        await scene.days_pass(1)

    assert len(await scene.execute("SELECT * FROM capped_message")) == 2


async def claim_alone(scene: Any, run: Any) -> set[str]:
    """A claim with connections of its own."""
    database = Database(str(scene.database.url.render_as_string(hide_password=False)))
    try:
        lease = await open_ledger(database).claim(run, limit=1000, lease=MINUTE)
    finally:
        await database.close()
    return {message.address for message in lease.messages}


async def test_claims_at_once_never_exceed_a_cap(scene: Any) -> None:
    """Six campaigns want the same two hundred people, who get two messages each, not one less."""
    people = [f"u{number}@example.com" for number in range(200)]
    await cap(scene, (2, 7))
    runs = [await scene.run(*people[::step]) for step in (1, -1, 1, -1, 1, -1)]

    claims = await asyncio.gather(*(claim_alone(scene, run) for run in runs))

    assert all(sum(one in claimed for claimed in claims) == 2 for one in people)


async def test_turned_away_ones_leave_room_for_others(scene: Any, accepted: Any) -> None:
    """A small claim of a run whose first people are over the cap still comes back full."""
    await cap(scene, (1, 7))
    people = [f"u{number}@example.com" for number in range(20)]
    await send(scene, await scene.run(*people[:15]), accepted())

    run = await scene.run(*people)
    _, ids = await scene.claim(run, 5)

    assert set(ids) == set(people[15:])
    assert (await scene.ledger.counts(run))[MessageState.SUPPRESSED] == 15


async def test_a_topic_that_is_not_wanted_is_not_sent(scene: Any, accepted: Any) -> None:
    """Others are, and so is everything of a campaign without a topic."""
    await add(
        scene,
        Preference(
            tenant_id=scene.tenant_id,
            channel="email",
            address=ADA,
            topics={"offers": False, "tips": True},
        ),
    )
    assert await send(scene, await scene.run(ADA, BOB), accepted()) == [ADA, BOB]
    await apply_version(scene, topic="offers")

    run = await scene.run(ADA, BOB)
    assert await send(scene, run, accepted()) == [BOB]

    row = (await scene.rows(run))[ADA]
    assert (row["state"], row["detail"]) == ("suppressed", "does not want the topic offers")
    await scene.execute("DELETE FROM campaign_version")
    await apply_version(scene, topic="tips")
    assert await send(scene, await scene.run(ADA, BOB), accepted()) == [ADA, BOB]


async def test_a_forgotten_address_stays_suppressed(scene: Any, accepted: Any) -> None:
    """By its hash alone, on its channel, with the reason it had."""
    await add(
        scene,
        ForgottenKey(tenant_id=scene.tenant_id, key=KEY),
        ForgottenAddress(
            tenant_id=scene.tenant_id,
            channel="email",
            digest=digest(KEY, ADA),
            reason="opt_out",
        ),
    )

    run = await scene.run(ADA, BOB, CLEO)
    assert await send(scene, run, accepted()) == [BOB, CLEO]

    assert (await scene.rows(run))[ADA]["detail"] == "on the suppression list: opt_out"


@pytest.mark.parametrize("channel", list(Channel))
def test_a_digest_is_of_the_key_and_the_address(channel: Channel) -> None:
    """Two tenants' digests of a person have nothing in common."""
    address = {Channel.EMAIL: ADA, Channel.SMS: "+4915123456789"}[channel]

    assert digest(KEY, address) == digest(KEY, address)
    assert len({digest(KEY, address), digest("6f" * 32, address), digest(KEY, BOB)}) == 3
    assert address not in digest(KEY, address)

"""Text messages that go instead of emails: once each, whatever happens twice, early or late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.consent.forgetting import forget
from ignition_ext.consent.timeline import read_timeline
from ignition_ext.ledger import fallback
from ignition_ext.ledger.contract import Evidence, NewMessage
from ignition_ext.ledger.fallback_counts import count_fallen
from ignition_ext.ledger.fallback_runs import (
    FellBack,
    Terms,
    begin_fallback,
    find_fallback,
    let_fall_back,
    open_fallbacks,
)
from ignition_ext.ledger.fallback_wave import FALLBACK_KEY, Wave
from ignition_ext.ledger.runs import close_run, set_run_state
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import (
    Channel,
    FailureClass,
    FallbackCause,
    Guarantee,
    MessageId,
    MessageState,
    Outcome,
    OutcomeKind,
    RunRef,
    RunState,
)

USUAL = frozenset(FallbackCause) - {FallbackCause.UNCERTAIN}
NUMBERS = {f"{name}@example.com": f"+49170000000{place}" for place, name in enumerate("abcdef")}
BOUNCE = Outcome(
    kind=OutcomeKind.REJECTED, code="550", text="gone", failure_class=FailureClass.MAILBOX
)


@dataclass
class Falling:
    """A run of emails with numbers to fall back to."""

    scene: Any
    run: RunRef
    keys: dict[str, MessageId] = field(default_factory=dict)
    lease: Any = None

    async def settle(self, outcomes: Mapping[str, Outcome]) -> None:
        for name, outcome in outcomes.items():
            key = self.keys[f"{name}@example.com"]
            await self.scene.settle(self.run, self.lease, key, outcome)

    async def fall_back(self) -> FellBack:
        async with self.scene.database.read() as session:
            found = await find_fallback(session, self.run.id)
        assert found is not None
        return await let_fall_back(self.scene.database, found, actor="test")

    async def look_around(self) -> dict[str, int]:
        """What reconcile does: all runs that have something to look at; what fell back."""
        moved: dict[str, int] = {}
        async with self.scene.database.read() as session:
            runs = await open_fallbacks(session)
        for one in runs:
            done = await let_fall_back(self.scene.database, one, actor="test")
            moved |= done.moved
        return moved

    async def end(self, run: RunRef | None = None) -> None:
        ref = run or self.run
        counts = await self.scene.ledger.counts(ref)
        await close_run(self.scene.database, ref, RunState.COMPLETED, "", counts)

    async def texts(self) -> dict[str, str]:
        """The text messages by number, with their states."""
        rows = await self.scene.execute("SELECT address, state FROM message WHERE channel = 'sms'")
        return {row[0]: row[1] for row in rows}

    async def bounce(self, name: str) -> None:
        key = self.keys[f"{name}@example.com"]
        told = Evidence(message_id=key, state=MessageState.BOUNCED, outcome=BOUNCE)
        await self.scene.ledger.evidence([told])

    async def time_passes(self, seconds: int) -> None:
        """Let the run's end, and all that was looked at, lie further back."""
        for table, column in (("campaign_run", "ended_at"), ("fallback_run", "seen_at")):
            back = (
                f"strftime('%Y-%m-%d %H\\:%M\\:%f000', {column}, '-{seconds} seconds')"
                if self.scene.database.dialect == "sqlite"
                else f"{column} - interval '{seconds} seconds'"
            )
            await self.scene.execute(f"UPDATE {table} SET {column} = {back}")


def terms(**changed: Any) -> Terms:
    usual = {
        "causes": USUAL,
        "within": timedelta(days=3),
        "guarantee": Guarantee.AT_MOST_ONCE,
        "runs_for": None,
    }
    return Terms(**{**usual, **changed})


async def falling(
    scene: Any, numbers: Mapping[str, str | None] = NUMBERS, *, on: Terms | None = None, **run: Any
) -> Falling:
    """A run whose emails are all on the wire."""
    ref = await scene.run(**run)

    async def batches() -> AsyncIterator[list[NewMessage]]:
        yield [
            NewMessage(
                channel=Channel.EMAIL,
                address=address,
                domain="example.com",
                data={"name": address}
                | ({FALLBACK_KEY: {"address": number, "domain": "49"}} if number else {}),
            )
            for address, number in numbers.items()
        ]

    await scene.ledger.snapshot(ref, batches())
    await scene.ledger.finish_snapshot(ref, skipped=0, rejected=0, duplicates=0)
    await begin_fallback(scene.database, ref, on or terms())
    lease, keys = await scene.sending(ref)
    return Falling(scene, ref, keys, lease)


async def test_what_did_not_get_through_goes_as_text_once(
    scene: Any, accepted: Any, refused: Outcome, unknown: Outcome
) -> None:
    """With the recipient's columns, each once, and counted by its class."""
    here = await falling(scene)
    broken = Outcome(
        kind=OutcomeKind.REJECTED, text="no such column", failure_class=FailureClass.RENDER
    )
    await here.settle(
        {"a": accepted(), "b": refused, "c": unknown, "d": broken, "e": BOUNCE, "f": accepted()}
    )

    first = await here.fall_back()
    again = await here.fall_back()

    assert (first.moved, first.added) == ({"address": 1, "mailbox": 1}, 2)
    assert (again.total, again.added) == (0, 0)
    assert await here.texts() == {
        NUMBERS["b@example.com"]: "pending",
        NUMBERS["e@example.com"]: "pending",
    }
    assert first.companion is not None
    claimed = await scene.ledger.claim(first.companion, limit=10, lease=timedelta(minutes=1))
    told = {message.address: (message.data, message.domain) for message in claimed.messages}
    assert told[NUMBERS["b@example.com"]] == ({"name": "b@example.com"}, "49")
    async with scene.database.read() as session:
        fallen = await count_fallen(session, here.run.id)
    assert fallen is not None
    assert (fallen.emails, fallen.text_messages) == (2, 2)
    assert fallen.by_class == {"address": 1, "mailbox": 1}


async def test_page_follows_on_page(
    scene: Any, refused: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all emails ended in the same instant, and some of a page do not fall back."""
    monkeypatch.setattr(fallback, "PAGE", 2)
    here = await falling(scene, dict(NUMBERS) | {"g@example.com": None})
    await here.settle(dict.fromkeys("abc", refused))
    await scene.ledger.release(here.run, here.lease)
    await scene.lapse(here.run)
    await scene.ledger.recover(here.run)
    await scene.execute("UPDATE message_event SET at = (SELECT max(at) FROM message_event)")

    done = await here.fall_back()

    assert (done.total, done.added) == (3, 3)
    assert (await here.fall_back()).total == 0


async def test_two_at_once_do_it_once(scene: Any, refused: Outcome) -> None:
    """Two that reconcile at the same moment add no text message twice."""
    here = await falling(scene)
    await here.settle(dict.fromkeys("abcdef", refused))

    done = await asyncio.gather(*(here.fall_back() for _ in range(4)))

    assert sum(one.added for one in done) == 6
    assert sum(one.total for one in done) == 6
    assert len(await here.texts()) == 6
    assert len({one.companion for one in done if one.companion}) == 1


async def test_a_crash_before_the_time_is_noted_costs_nothing(scene: Any, refused: Outcome) -> None:
    """Text messages are there, and nobody noted up to when was looked: the next finds no more."""
    here = await falling(scene)
    await here.settle({"a": refused, "b": refused})
    async with scene.database.read() as session:
        one = await find_fallback(session, here.run.id)
    assert one is not None
    wave = Wave(lead=here.run, companion=None, causes=USUAL, until=None)
    page = await scene.ledger.fall_back(wave)
    assert page is not None
    assert page.wants_companion
    assert await here.texts() == {}

    await here.fall_back()
    await scene.execute(
        "UPDATE fallback_run SET seen_at = '2000-01-01 00\\:00\\:00.000000+00'"
        if scene.database.dialect == "postgresql"
        else "UPDATE fallback_run SET seen_at = '2000-01-01 00\\:00\\:00.000000'"
    )
    again = await here.fall_back()

    assert again.added == 0
    assert len(await here.texts()) == 2


async def test_a_late_bounce_falls_back_once_and_not_after_its_time(
    scene: Any, accepted: Any
) -> None:
    """Twice the same bounce is one text message; one after `within` is none."""
    here = await falling(scene, on=terms(within=timedelta(hours=1)))
    await here.settle(dict.fromkeys("abcdef", accepted()))
    assert await here.look_around() == {}
    await here.end()
    await here.bounce("a")
    await here.bounce("a")

    assert await here.look_around() == {"mailbox": 1}
    assert await here.look_around() == {}
    await here.time_passes(2 * 3600)
    await here.bounce("b")
    assert await here.look_around() == {}

    assert await here.texts() == {NUMBERS["a@example.com"]: "pending"}
    async with scene.database.read() as session:
        assert await open_fallbacks(session) == []
    # A run that is retried begins again where it had stopped.
    await begin_fallback(scene.database, here.run, terms(within=timedelta(days=3)))
    async with scene.database.read() as session:
        assert [one.lead for one in await open_fallbacks(session)] == [here.run]


async def test_people_with_one_number_get_one_text_message(scene: Any, refused: Outcome) -> None:
    """Both emails name it; a number that the run had already gets none."""
    shared = {"a@example.com": "+491700000001", "b@example.com": "+491700000001"}
    here = await falling(scene, shared)
    await here.settle({"a": refused, "b": refused})

    done = await here.fall_back()

    assert (done.total, done.added) == (2, 1)
    links = await scene.execute("SELECT message_id, sms_id FROM fallback_message")
    assert len(links) == 2
    assert len({row[1] for row in links}) == 1


async def test_only_a_bounce_makes_a_suppressed_email_fall_back(scene: Any) -> None:
    """Who opted out or complained is not written to by another channel."""
    run = await scene.run()
    for name, reason in (("a", "bounce"), ("b", "opt_out"), ("c", "complaint")):
        await scene.suppress(f"{name}@example.com")
        await scene.execute(
            f"UPDATE suppression SET reason = '{reason}' WHERE address = '{name}@example.com'"
        )
    here = await falling(scene, {key: NUMBERS[key] for key in list(NUMBERS)[:4]})

    done = await here.fall_back()

    assert done.moved == {"bounced": 1}
    assert await here.texts() == {NUMBERS["a@example.com"]: "pending"}
    assert run != here.run


async def test_who_opted_out_of_texts_meanwhile_is_not_written_to(
    scene: Any, refused: Outcome
) -> None:
    """The claim looks at the suppression list as ever."""
    here = await falling(scene)
    await here.settle({"a": refused, "b": refused})
    done = await here.fall_back()
    await scene.suppress(NUMBERS["a@example.com"], Channel.SMS)

    assert done.companion is not None
    claimed = await scene.ledger.claim(done.companion, limit=10, lease=timedelta(minutes=1))

    assert [message.address for message in claimed.messages] == [NUMBERS["b@example.com"]]


async def test_caps_hold_for_text_messages_instead_of_emails(
    scene: Any, accepted: Any, refused: Outcome
) -> None:
    """Whoever has had a text message in these days gets no other, from whichever run."""
    cap = {"messages": 1, "days": 7}
    await set_tenant_setting(scene.database, tenant="acme", key="caps.sms", value=cap, actor="test")
    claimed = []
    for _ in range(2):
        here = await falling(scene)
        await here.settle({"a": refused})
        done = await here.fall_back()
        assert (done.added, done.companion is None) == (1, False)
        lease, keys = await scene.sending(done.companion)
        for key in keys.values():
            await scene.settle(done.companion, lease, key, accepted(), accepted())
        claimed.append(list(keys))

    assert claimed == [[NUMBERS["a@example.com"]], []]


async def test_an_email_that_is_sent_again_and_gets_through_keeps_its_text_message(
    scene: Any, accepted: Any, refused: Outcome
) -> None:
    """What was redriven before it was looked at does not fall back; what was after, has."""
    here = await falling(scene)
    await here.settle({"a": refused, "b": refused})
    await scene.ledger.redrive(here.run, actor="jane")
    assert (await here.fall_back()).total == 0
    lease, keys = await scene.sending(here.run)
    await scene.settle(here.run, lease, keys["a@example.com"], accepted())
    await scene.settle(here.run, lease, keys["b@example.com"], refused)

    assert (await here.fall_back()).added == 1
    assert list(await here.texts()) == [NUMBERS["b@example.com"]]


@pytest.mark.parametrize("cancelled", ["lead", "companion"])
async def test_nothing_falls_back_into_what_was_cancelled(
    scene: Any, refused: Outcome, cancelled: str
) -> None:
    """Neither where the emails were stopped, nor where the text messages were."""
    here = await falling(scene)
    await here.settle({"a": refused})
    done = await here.fall_back()
    assert done.companion is not None
    stopped = here.run if cancelled == "lead" else done.companion
    await here.settle({"b": refused})
    await set_run_state(
        scene.database, stopped.id, RunState.CANCELLED, reason="enough", actor="jane"
    )

    assert (await here.fall_back()).added == 0
    assert len(await here.texts()) == 1


async def test_what_expires_falls_back_but_no_copy_that_may_have_arrived(
    scene: Any, unknown: Outcome
) -> None:
    """Under at-least-once an email that was sent again in ignorance may be there already."""
    here = await falling(scene, guarantee=Guarantee.AT_LEAST_ONCE)
    await here.settle({"a": unknown})
    await scene.lapse(here.run)
    await scene.ledger.recover(here.run)
    await scene.ledger.cancel_open(here.run, MessageState.EXPIRED)
    assert set((await scene.states(here.run)).values()) == {"expired"}

    assert (await here.fall_back()).total == 0

    more = await falling(scene, on=terms(causes=frozenset(FallbackCause)))
    await more.settle({"a": unknown})
    assert (await more.fall_back()).moved == {"uncertain": 1}


async def test_a_companion_that_ended_with_something_to_send_is_found(
    scene: Any, refused: Outcome
) -> None:
    """A text message that came in its last moment, or a crash before it was started again."""
    here = await falling(scene)
    await here.settle({"a": refused})
    done = await here.fall_back()
    assert done.companion is not None
    await here.end()
    await here.end(done.companion)
    await here.time_passes(600)

    async with scene.database.read() as session:
        (one,) = await open_fallbacks(session)

    assert one.is_stranded
    assert one.companion == done.companion


async def test_text_messages_keep_the_campaigns_deadline(scene: Any, refused: Outcome) -> None:
    """What the emails' own deadline lets fall back does not expire at once."""
    here = await falling(
        scene, on=terms(runs_for=timedelta(hours=6)), deadline=timedelta(minutes=10)
    )
    await here.settle({"a": refused})
    done = await here.fall_back()
    assert done.companion is not None

    (row,) = await scene.execute(
        "SELECT c.deadline, c.run_at, c.guarantee FROM campaign_run c"
        " WHERE c.lead_run_id IS NOT NULL"
    )
    assert row.guarantee == "at-most-once"
    claimed = await scene.ledger.claim(done.companion, limit=10, lease=timedelta(minutes=1))
    assert len(claimed.messages) == 1


async def test_forgetting_takes_both_channels_along(
    scene: Any, accepted: Any, refused: Outcome
) -> None:
    """By address or number: no text message goes, and what went names nobody any more."""
    here = await falling(scene)
    await here.settle({"a": accepted(), "b": refused, "c": refused, "d": refused})
    await here.fall_back()
    for address in ("a@example.com", NUMBERS["b@example.com"], "c@example.com"):
        await forget(scene.database, tenant="acme", address=address, actor="jane")
    await here.settle({"e": refused})

    assert (await here.fall_back()).added == 1

    written = await scene.execute("SELECT address, data, state FROM message")
    stored = json.dumps([list(row) for row in written])
    for name in "abc":
        assert f"{name}@example.com" not in stored
        assert NUMBERS[f"{name}@example.com"] not in stored
    there = {key: state for key, state in (await here.texts()).items() if key.startswith("+")}
    assert there == {NUMBERS["d@example.com"]: "pending", NUMBERS["e@example.com"]: "pending"}


async def test_forgetting_one_of_two_with_a_number_leaves_the_other_theirs(
    scene: Any, refused: Outcome
) -> None:
    """The number is not the person's alone; forgetting the number stops it for both."""
    shared = {"a@example.com": "+491700000001", "b@example.com": "+491700000001"}
    here = await falling(scene, shared)
    await forget(scene.database, tenant="acme", address="a@example.com", actor="jane")
    await here.settle({"b": refused})
    assert (await here.fall_back()).added == 1

    more = await falling(
        scene, {"c@example.com": "+491700000001", "d@example.com": "+491700000001"}
    )
    await forget(scene.database, tenant="acme", address="+491700000001", actor="jane")
    await more.settle({"c": refused, "d": refused})
    assert (await more.fall_back()).total == 0
    assert not [number for number in await here.texts() if number.startswith("+")]


async def test_forgetting_while_emails_fall_back_leaves_no_number(
    scene: Any, refused: Outcome
) -> None:
    """Whoever comes first, the other waits and sees what was done."""
    here = await falling(scene)
    await here.settle(dict.fromkeys("abcdef", refused))

    await asyncio.gather(
        here.fall_back(),
        *(forget(scene.database, tenant="acme", address=one, actor="jane") for one in NUMBERS),
    )

    assert not [number for number in await here.texts() if number.startswith("+")]


async def test_who_bounced_and_was_forgotten_gets_no_text_message(scene: Any) -> None:
    """Whatever a new list says of the person: a hash keeps the address out, and no bounce."""
    await scene.suppress("a@example.com")
    await scene.execute("UPDATE suppression SET reason = 'bounce'")
    await forget(scene.database, tenant="acme", address="a@example.com", actor="jane")
    here = await falling(scene, {"a@example.com": "+491700000009"})
    assert set((await scene.states(here.run)).values()) == {"suppressed"}

    assert (await here.fall_back()).total == 0


async def test_a_recipients_timeline_goes_on_in_the_other_channel(
    scene: Any, refused: Outcome
) -> None:
    """The email that failed, the text message instead: also of a person in no stored audience."""
    here = await falling(scene)
    await here.settle({"a": refused})
    await here.fall_back()

    timeline = await read_timeline(scene.database, tenant="acme", address="a@example.com")

    told = [(moment.channel, moment.kind, moment.what) for moment in timeline.moments]
    assert told[:2] == [
        (Channel.EMAIL, "message", "pending"),
        (Channel.EMAIL, "message", "failed"),
    ]
    assert set(told[2:]) == {
        (Channel.SMS, "message", "pending"),
        (Channel.SMS, "fallback", "failed"),
    }

"""Texts from handsets in the database: once each, joined, kept over a restart, swept up late."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.database import Database
from ignition_ext.errors import DatabaseError
from ignition_ext.returns.sms_inbox import NUMBERED_REPEAT, PATIENCE, REPEAT, SmsInbox

BIND, PHONE, SENDER = "127.0.0.1:2775/acme", "+4917012345678", "+4915799912345"
LONG = "Ein langer Text, der in mehrere Teile geht. " * 12


async def test_a_text_is_stored_and_announced(office: Any, sms: Any) -> None:
    """With who, to whom, when and whose; the announcement names no number where all may read."""
    await office.get(sms.fragment("Hallo, wann macht ihr auf?"))

    (row,) = await office.texts()
    assert (row.tenant_id, row.bind, row.source) == (office.tenant_id, BIND, PHONE)
    assert (row.destination, row.text) == (SENDER.lstrip("+"), "Hallo, wann macht ihr auf?")
    assert (row.parts, row.parts_received, row.keyword, row.action) == (1, 1, "", "stored")
    (event,) = await office.events()
    assert event.name == "ignition.sms.received"
    assert event.payload["inbound_message_id"] == str(row.id)
    assert PHONE not in str(event.payload)
    assert event.private["text"] == row.text
    assert event.private["from"] == PHONE
    assert await office.stopped() == {}


async def test_the_same_deliver_sm_twice_counts_once(office: Any, sms: Any) -> None:
    """In one batch, in two, and by another process; an hour later it is said anew."""
    await office.get(sms.fragment("Ja"), sms.fragment("Ja"))
    await office.get(sms.fragment("Ja"))
    await SmsInbox(office.database).store([sms.fragment("Ja")])

    (row,) = await office.texts()
    assert row.repeats == 3
    assert len(await office.events()) == 1

    await office.age("inbound_message", "received_at", REPEAT + timedelta(seconds=1))
    await office.get(sms.fragment("Ja"))
    assert [row.repeats for row in await office.texts()] == [3, 0]


async def test_the_same_words_are_said_anew_once_the_smsc_has_our_answer(
    office: Any, sms: Any
) -> None:
    """A person who types them twice is heard twice; what is brought before that is a repeat."""
    await office.get(sms.fragment("Ja"))
    await office.get(sms.fragment("Ja"))
    await office.inbox.acknowledged([sms.fragment("Ja")])
    await office.inbox.acknowledged([sms.fragment("Nein")])
    await SmsInbox(office.database).store([sms.fragment("Ja"), sms.fragment("Ja")])

    assert [row.repeats for row in await office.texts()] == [1, 1]
    assert len(await office.events()) == 2


@pytest.mark.parametrize(
    ("tlvs", "window"),
    [({0x0204: b"\x00\x07"}, REPEAT), ({0x001E: b"4711\0"}, NUMBERED_REPEAT)],
    ids=["reference", "id"],
)
async def test_a_number_of_its_own_decides_alone(
    office: Any, sms: Any, tlvs: dict[int, bytes], window: timedelta
) -> None:
    """The same one is a repeat though it was acknowledged, another one is another text."""
    await office.get(sms.fragment("Ja", tlvs=tlvs))
    await office.inbox.acknowledged([sms.fragment("Ja", tlvs=tlvs)])
    await office.age("inbound_message", "received_at", window - timedelta(minutes=1))
    other = {tag: b"\x01" + value[1:] for tag, value in tlvs.items()}
    await office.get(sms.fragment("Ja", tlvs=tlvs), sms.fragment("Ja", tlvs=other))
    assert [row.repeats for row in await office.texts()] == [1, 0]

    await office.age("inbound_message", "received_at", timedelta(minutes=2))
    await office.get(sms.fragment("Ja", tlvs=tlvs))
    assert len(await office.texts()) == 3


async def test_parts_are_joined_in_any_order_and_over_a_restart(office: Any, sms: Any) -> None:
    """Each part is in the database before it is acknowledged; the last one makes the text."""
    parts = sms.fragments(LONG)
    assert len(parts) == 4
    random.Random(7).shuffle(parts)
    await office.get(parts[0], parts[1])
    await office.get(parts[1])
    assert await office.texts() == []

    another = SmsInbox(office.database)
    await another.store(parts[2:])
    await another.store(parts)  # brought again, because the answers were lost

    (row,) = await office.texts()
    assert (row.text, row.parts, row.parts_received, row.action) == (LONG, 4, 4, "stored")
    assert len(await office.events()) == 1


async def test_two_handsets_with_one_reference_do_not_mix(office: Any, sms: Any) -> None:
    """Parts belong together by numbers and reference."""
    other = "+4917087654321"
    mine, theirs = sms.fragments(LONG), sms.fragments(LONG.upper(), source=other)
    mixed = [part for pair in zip(mine, theirs, strict=True) for part in pair]
    await office.get(*mixed)

    assert {row.source: row.text for row in await office.texts()} == {
        PHONE: LONG,
        other: LONG.upper(),
    }


async def test_a_reference_used_again_is_another_text(office: Any, sms: Any) -> None:
    """Handsets count 256 texts and begin anew; what was left of the old one is kept."""
    first, second = sms.fragments(LONG), sms.fragments(LONG.upper())
    await office.get(*first)
    await office.get(*second)
    await office.get(*sms.fragments(LONG.lower())[:2])
    await office.get(*sms.fragments(LONG.swapcase()))

    texts = await office.texts()
    assert [row.text for row in texts if row.action == "stored"] == [
        LONG,
        LONG.upper(),
        LONG.swapcase(),
    ]
    (left,) = [row for row in texts if row.action == "incomplete"]
    assert LONG.lower().startswith(left.text)
    assert (left.parts, left.parts_received) == (4, 2)


async def test_parts_that_wait_too_long_are_stored_as_they_are(office: Any, sms: Any) -> None:
    """Marked incomplete and announced; what was joined is forgotten later."""
    parts = sms.fragments(LONG)
    await office.get(parts[0], parts[2])
    await office.get(*sms.fragments(LONG, source="+4917087654321"))
    assert await office.inbox.sweep(BIND) == 0

    await office.age("inbound_part", "received_at", PATIENCE + timedelta(seconds=1))
    assert await office.inbox.sweep("another bind") == 0
    assert await office.inbox.sweep(BIND) == 1
    assert await office.inbox.sweep(BIND) == 0

    rows = {row.source: row for row in await office.texts()}
    late = rows[PHONE]
    assert (late.action, late.parts, late.parts_received) == ("incomplete", 4, 2)
    assert late.text == LONG[:153] + LONG[306:459]
    assert len(await office.parts()) == 4
    await office.age("inbound_part", "joined_at", REPEAT + timedelta(seconds=1))
    await office.inbox.sweep(BIND)
    assert await office.parts() == []


async def test_an_incomplete_text_is_no_keyword(office: Any, sms: Any) -> None:
    """STOP in the first of two parts may be the beginning of anything."""
    head = bytes([5, 0, 3, 1, 2, 1])
    await office.get(sms.fragment(head + b"STOP", esm_class=0x40))
    await office.age("inbound_part", "received_at", PATIENCE + timedelta(seconds=1))
    await office.inbox.sweep(BIND)

    (row,) = await office.texts()
    assert (row.text, row.keyword, row.action) == ("STOP", "", "incomplete")
    assert await office.stopped() == {}


async def test_binary_and_nonsense_are_kept(office: Any, sms: Any) -> None:
    """Binary as hexadecimal, NUL and lone surrogates in no database."""
    await office.get(
        sms.fragment(b"\x01\x02\xff", coding=4),
        sms.fragment(b"\xd8\x3d\x00\x00", coding=8),
        sms.fragment(b"", coding=0),
        sms.fragment(b"\x05\x00", esm_class=0x40),
        sms.fragment("hm", source="12\x003"),
    )

    rows = await office.texts()
    assert len(rows) == 5
    assert (rows[0].octets, rows[0].text) == ("0102ff", "")
    assert "\x00" not in "".join(row.text + row.source for row in rows)


async def test_numbers_are_spelled_as_messages_spell_them(office: Any, sms: Any) -> None:
    """International without plus, national, and what is no telephone number."""
    await office.get(
        sms.fragment("a", source="4917012345678"),
        sms.fragment("b", source="017012345678"),
        sms.fragment("c", source="72345"),
        sms.fragment("d", source="Bank"),
    )

    assert [row.source for row in await office.texts()] == [PHONE, PHONE, "72345", "Bank"]


async def test_without_the_database_nothing_is_half_stored(sms: Any) -> None:
    """The caller is told, and the SMSC keeps it."""
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    try:
        with pytest.raises(DatabaseError):
            await SmsInbox(database).store([sms.fragment("STOP")])
    finally:
        await database.close()

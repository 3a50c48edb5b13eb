"""The suppression list: who goes on it, who comes off it, and what the audit log says."""

from __future__ import annotations

import asyncio
from typing import Any

from ignition_ext.consent import SuppressionReason
from ignition_ext.values import Channel


async def test_addresses_are_spelled_as_audiences_spell_them(office: Any) -> None:
    """Two spellings of a mailbox are one row, and a national number is the tenant's region's."""
    email = await office.suppress("Joe@BÜCHER.example", "joe@xn--bcher-kva.example")
    phone = await office.suppress("0151 2345 6789", channel=Channel.SMS)

    assert (email, phone) == (1, 1)
    rows = [(row.channel, row.address) for row in await office.suppressed()]
    assert rows == [("email", "joe@xn--bcher-kva.example"), ("sms", "+4915123456789")]


async def test_what_nothing_can_be_sent_to_is_passed_over(office: Any) -> None:
    """One bad address neither stands on the list nor keeps the others off it."""
    assert await office.suppress("nobody", "a@b.example", "") == 1
    assert [row.address for row in await office.suppressed()] == ["a@b.example"]


async def test_the_first_reason_stays(office: Any) -> None:
    """A bounce does not overwrite an opt-out, and tells the audit log nothing."""
    await office.suppress("a@b.example", reason=SuppressionReason.OPT_OUT)

    assert await office.suppress("A@B.example", reason=SuppressionReason.BOUNCE) == 0

    (row,) = await office.suppressed()
    assert (row.reason, row.detail, row.actor) == ("opt_out", "asked by phone", "test")
    assert len(await office.audited("suppression.added")) == 1


async def test_a_batch_is_one_row_of_the_audit_log_without_addresses(office: Any) -> None:
    """Also one of several statements; the reason's own words are marked."""
    many = [f"p{number}@b.example" for number in range(2500)]

    assert await office.suppress(*many, detail="p1@b.example called") == 2500

    (row,) = await office.audited("suppression.added")
    assert row.subject == "suppression:email"
    assert row.after == {"count": 2500, "reason": "manual", "detail": "[email] called"}


async def test_two_at_once_add_an_address_once(office: Any) -> None:
    """Each is told what it added itself."""
    many = [f"p{number}@b.example" for number in range(50)]

    added = await asyncio.gather(*(office.suppress(*many) for _ in range(3)))

    assert sum(added) == 50
    assert len(await office.suppressed()) == 50


async def test_lifting_takes_an_address_off_one_channel(office: Any) -> None:
    """It is audited with the reason, and a second time finds nothing."""
    await office.suppress("a@b.example", "c@b.example")
    await office.suppress("+4915123456789", channel=Channel.SMS)

    assert await office.lift("A@b.example") == 1
    assert await office.lift("a@b.example") == 0

    assert [row.address for row in await office.suppressed()] == [
        "c@b.example",
        "+4915123456789",
    ]
    (row,) = await office.audited("suppression.removed")
    assert row.before is not None
    assert (row.before["count"], row.after) == (1, {"detail": "asked again"})


async def test_lifting_one_reason_leaves_the_others(office: Any) -> None:
    """A START by SMS undoes a STOP, not a complaint."""
    await office.suppress("a@b.example", reason=SuppressionReason.OPT_OUT)
    await office.suppress("c@b.example", reason=SuppressionReason.COMPLAINT)

    lifted = await office.lift(
        "a@b.example",
        "c@b.example",
        only_reason=SuppressionReason.OPT_OUT,
    )

    assert lifted == 1
    assert [row.address for row in await office.suppressed()] == ["c@b.example"]

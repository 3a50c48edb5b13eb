"""What a text from a handset makes happen: opt-outs, opt-ins, answers, announcements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.consent.addresses import normalise
from ignition_ext.consent.suppressions import SuppressionReason, lift, suppress
from ignition_ext.errors import AudienceError
from ignition_ext.models import InboundMessage
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.returns.keywords import Keyword, Match, match_keyword
from ignition_ext.returns.sms_replies import plan_reply
from ignition_ext.returns.sms_routes import owners_of, was_written_to
from ignition_ext.returns.sms_settings import SmsSettings, read_sms_settings
from ignition_ext.values import Channel

STORED, INCOMPLETE, NOBODYS = "stored", "incomplete", "belongs to no tenant"
OPTED_OUT, WAS_OUT = "opted out", "was opted out"
OPTED_IN, WAS_IN = "opted in", "was not opted out"
HELPED = "asked for help"
_TELLING = [NOBODYS, WAS_IN, WAS_OUT, HELPED, OPTED_IN, OPTED_OUT]
"""Where a text was meant for several tenants, the last of these that was done for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text and its row, which is to be filled in.

    Attributes:
        is_whole: whether all parts are there and are text; only then it can be a keyword.
    """

    row: InboundMessage
    is_whole: bool


async def carry_out(session: AsyncSession, text: Text, *, tenant_id: int | None) -> int:
    """Find out whose a text is and do what it asks for; returns how many replies it is worth."""
    row = text.row
    came_from = row.source
    row.source = _spelled(came_from, None)
    owners = [tenant_id] if tenant_id is not None else await _owners(session, row)
    settings = {owner: await read_sms_settings(session, owner) for owner in owners}
    if len(owners) == 1:
        row.tenant_id = owners[0]
        row.source = await _read(session, came_from, owners[0], settings[owners[0]].region)
    # Words of their own count where it is plain whose the text is.
    own = settings[owners[0]].words if len(owners) == 1 else None
    match = match_keyword(row.text, own) if text.is_whole else None
    if match is None:
        return await _announce_text(session, text)
    row.keyword, row.language = match.keyword.value, match.language("")
    replies, actions = 0, [] if owners else [NOBODYS]
    for owner in owners:
        actions.append(await _obey(session, row, match, owner))
        replies += await _reply(session, row, match, owner, settings[owner])
    row.action = max(actions, key=_TELLING.index)
    return replies


async def _owners(session: AsyncSession, row: InboundMessage) -> Sequence[int]:
    return await owners_of(session, bind=row.bind, destination=row.destination, handset=row.source)


async def _announce_text(session: AsyncSession, text: Text) -> int:
    row = text.row
    row.action = STORED if row.parts_received == row.parts else INCOMPLETE
    if row.tenant_id is not None:
        await announce(
            session,
            [
                Announcement(
                    tenant_id=row.tenant_id,
                    name=EventName.SMS_RECEIVED,
                    subject=f"inbound_message:{row.id}",
                    payload={
                        "inbound_message_id": str(row.id),
                        "received_at": row.received_at.isoformat(),
                        "bind": row.bind,
                        "parts": row.parts,
                        "complete": row.parts_received == row.parts,
                        "data_coding": row.data_coding,
                    },
                    private={
                        "from": row.source,
                        "to": row.destination,
                        "text": row.text,
                        "octets": row.octets,
                    },
                )
            ],
        )
    return 0


async def _obey(session: AsyncSession, row: InboundMessage, match: Match, owner: int) -> str:
    actor, detail = f"sms:{match.word.upper()}", f"SMS {match.word.upper()} to {row.destination}"
    match match.keyword:
        case Keyword.STOP:
            # Announced and suppressed before the SMSC is answered: no claim after this sees them.
            done = await suppress(
                session,
                tenant_id=owner,
                channel=Channel.SMS,
                addresses=[row.source],
                reason=SuppressionReason.OPT_OUT,
                detail=detail,
                actor=actor,
            )
            if done:
                await _announce_change(session, row, owner, EventName.RECIPIENT_OPTED_OUT)
            return OPTED_OUT if done else WAS_OUT
        case Keyword.START:
            done = await lift(
                session,
                tenant_id=owner,
                channel=Channel.SMS,
                addresses=[row.source],
                actor=actor,
                detail=detail,
                only_reason=SuppressionReason.OPT_OUT,
            )
            if done:
                await _announce_change(session, row, owner, EventName.RECIPIENT_OPTED_IN)
            return OPTED_IN if done else WAS_IN
        case Keyword.HELP:
            return HELPED
        case _:
            assert_never(match.keyword)


async def _announce_change(
    session: AsyncSession, row: InboundMessage, owner: int, name: EventName
) -> None:
    await announce(
        session,
        [
            Announcement(
                tenant_id=owner,
                name=name,
                subject=f"inbound_message:{row.id}",
                payload={
                    "channel": Channel.SMS.value,
                    "inbound_message_id": str(row.id),
                    "keyword": row.keyword,
                },
                private={"address": row.source},
            )
        ],
    )


async def _reply(
    session: AsyncSession, row: InboundMessage, match: Match, owner: int, settings: SmsSettings
) -> int:
    language = match.language(settings.language)
    words = settings.reply(match.keyword, language)
    if not words:
        return 0
    return await plan_reply(
        session, row, tenant_id=owner, keyword=match.keyword, language=language, text=words
    )


async def _read(session: AsyncSession, address: str, owner: int, region: str) -> str:
    """Who sent it, where the digits are a number abroad and another one at home.

    Some SMSCs leave out the plus, some the country: whom the tenant wrote to is meant.
    """
    abroad, at_home = _spelled(address, None), _spelled(address, region)
    if not at_home.startswith("+"):
        return abroad
    if not abroad.startswith("+"):
        return at_home
    is_meant = abroad != at_home and await was_written_to(session, owner, at_home)
    if is_meant and not await was_written_to(session, owner, abroad):
        return at_home
    return abroad


def _spelled(address: str, region: str | None) -> str:
    """The number as audiences write it; as it came where it is none, such as a short code.

    Digits are a number of the region, or, without one, of any country.
    """
    is_whole = address.startswith("+") or region is not None
    try:
        return normalise(Channel.SMS, address if is_whole else f"+{address}", region)
    except AudienceError:
        return address

"""Mails that ask to unsubscribe: whom they are about, and the opt-out that they are.

The token decides, wherever it stands: the one that List-Unsubscribe put into the subject, or that
of the address that our messages come from. Who wrote the mail does not: anybody can write a From.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.reports import MailReport
from ignition_ext.consent.opting import opt_out
from ignition_ext.errors import TokenError
from ignition_ext.links import Addressee
from ignition_ext.links.payload import PEOPLE
from ignition_ext.models import Tenant
from ignition_ext.returns import mail_rows
from ignition_ext.returns.mail_match import Match, match
from ignition_ext.returns.mail_rows import MatchedBy
from ignition_ext.signing import Signer
from ignition_ext.values import Channel

ACTOR = "mail"
"""Who is named in the audit log and the event, beside ``web`` for the pages."""
Asked = Addressee | str
"""Whom a mail is about, or why nobody knows."""
_NAMELESS = "it asks to unsubscribe, and holds no token that says whom"
_FORGED = "it asks to unsubscribe, and its token is forged, cut, or of another installation"
_STRANGER = "it asks to unsubscribe from a tenant that is not here"


def signer_of_people() -> Signer:
    """Reads the tokens of links, also those of earlier keys.

    Raises:
        ConfigurationError: there is no usable key.
    """
    return Signer.of(PEOPLE)


async def whom(
    session: AsyncSession, reports: Sequence[MailReport], people: Signer, bounces: Signer
) -> Sequence[Asked]:
    """Whom each mail that asks to unsubscribe is about, or why nobody knows.

    Args:
        people: reads the token of a subject.
        bounces: reads the token of an address.
    """
    found = [_told(report, people) for report in reports]
    nameless = [report for report, one in zip(reports, found, strict=True) if one is None]
    by_address = iter([_from_address(one) for one in await match(session, nameless, bounces)])
    asked = [next(by_address) if one is None else one for one in found]
    known = await _known(session, {one.tenant_id for one in asked if isinstance(one, Addressee)})
    return [
        _STRANGER if isinstance(one, Addressee) and one.tenant_id not in known else one
        for one in asked
    ]


async def carry_out(session: AsyncSession, asked: Collection[Addressee]) -> int:
    """Opt out whom mails are about, as a link does; returns how many addresses are new."""
    new = 0
    for about in asked:
        new += await opt_out(session, about, how="mail to the unsubscribe address", actor=ACTOR)
    return new


def columns(about: Addressee) -> dict[str, object]:
    """What a row says, once its mail is carried out."""
    return mail_rows.settled(
        by=MatchedBy.TOKEN,
        tenant_id=about.tenant_id,
        message_id=about.message_id,
        address=about.address,
    ) | {"detail": ""}


def _told(report: MailReport, people: Signer) -> Asked | None:
    """By the subject; None where it holds nothing that may be a token."""
    for text in report.tokens:
        for read in (people.opened_lowered, people.opened):
            try:
                return Addressee.from_bytes(read(text))
            except TokenError:
                continue
    return _FORGED if report.tokens else None


def _from_address(found: Match | str) -> Asked:
    if isinstance(found, str) or found.by is not MatchedBy.TOKEN:
        return _NAMELESS
    return Addressee(
        tenant_id=found.tenant_id,
        message_id=found.message_id,
        channel=Channel.EMAIL,
        address=found.address,
    )


async def _known(session: AsyncSession, tenants: set[int]) -> set[int]:
    if not tenants:
        return set()
    statement = select(col(Tenant.id)).where(col(Tenant.id).in_(sorted(tenants)))
    found = await (await session.connection()).execute(statement)
    return {key for key in found.scalars() if key is not None}

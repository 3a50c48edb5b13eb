"""Whom a mail that came back is about: by our signed token, by Message-ID, by the recipient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.reports import MailReport
from ignition_ext.errors import TokenError
from ignition_ext.models import CampaignRun, Message
from ignition_ext.returns.mail_rows import MatchedBy
from ignition_ext.signing import Signer
from ignition_ext.templates.bounce_address import PURPOSE, TOKEN_LENGTH
from ignition_ext.values import Channel, MessageState

RECENT = timedelta(days=6)
"""How old a run may be whose messages are found by their recipient alone: servers try for five
days, and the older the runs, the likelier two of them wrote to the same address."""
_TOKEN = re.compile(rf"\+([a-z2-7]{{{TOKEN_LENGTH}}})@", re.IGNORECASE | re.ASCII)
_UNDELIVERED = [state.value for state in (MessageState.SENT, MessageState.UNCERTAIN)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The message that a mail is about."""

    message_id: UUID
    tenant_id: int
    address: str
    by: MatchedBy


Found = Match | str
"""A match, or why there is none."""


@dataclass(frozen=True, slots=True)
class _Clue:
    by: MatchedBy
    keys: tuple[UUID, ...]


async def match(
    session: AsyncSession, reports: Sequence[MailReport], signer: Signer
) -> Sequence[Found]:
    """The message of each report, or why none is known.

    A token of ours decides. One that is forged, or of another installation, ends the search: the
    rest of such a mail is not to be trusted more.
    """
    clues = [_clue(report, signer) for report in reports]
    known = await _by_key(
        session, {key for clue in clues if isinstance(clue, _Clue) for key in clue.keys}
    )
    names = [
        "" if clue is not None else _written_to(report)
        for clue, report in zip(clues, reports, strict=True)
    ]
    recent = await _by_address(session, {name for name in names if name})
    return [_chosen(clue, known, name, recent) for clue, name in zip(clues, names, strict=True)]


def read_tokens(addresses: Iterable[str], signer: Signer) -> tuple[UUID | None, str]:
    """The message of the first token that is ours; and an address whose token is not."""
    foreign = ""
    for address in addresses:
        found = _TOKEN.search(address)
        if found is None:
            continue
        try:
            return UUID(bytes=signer.read_short_token(found[1])), ""
        except (TokenError, ValueError):
            foreign = foreign or address
    return None, foreign


def signer_of_bounces() -> Signer:
    """Reads the tokens of envelope senders, also those of earlier keys."""
    return Signer.of(PURPOSE)


def _clue(report: MailReport, signer: Signer) -> _Clue | str | None:
    key, foreign = read_tokens(report.returned_to, signer)
    if key is not None:
        return _Clue(MatchedBy.TOKEN, (key,))
    if foreign:
        return f"the token in {foreign} is forged, or of another installation"
    keys = tuple(key for name in report.message_ids if (key := _message_key(name)) is not None)
    return _Clue(MatchedBy.MESSAGE_ID, keys) if keys else None


def _message_key(message_id: str) -> UUID | None:
    """The message that a Message-ID of ours names: ``<uuid>@domain``."""
    left = message_id.partition("@")[0]
    try:
        key = UUID(left)
    except ValueError:
        return None
    return key if str(key) == left.lower() else None


def _written_to(report: MailReport) -> str:
    decisive = report.decisive
    return (decisive.original or decisive.address).strip()


def _chosen(
    clue: _Clue | str | None,
    known: Mapping[UUID, Match],
    name: str,
    recent: Mapping[str, Sequence[Match]],
) -> Found:
    if isinstance(clue, str):
        return clue
    if clue is not None:
        for key in clue.keys:
            if (found := known.get(key)) is not None:
                return Match(
                    message_id=key, tenant_id=found.tenant_id, address=found.address, by=clue.by
                )
        return f"no message is known by its {clue.by.value.replace('_', ' ')}"
    candidates = recent.get(name.lower(), ())
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        return f"{len(candidates)} messages went to this address of late"
    return "it names no message, and none went to this address of late" if name else "no clue"


async def _by_key(session: AsyncSession, keys: set[UUID]) -> Mapping[UUID, Match]:
    if not keys:
        return {}
    statement = select(col(Message.id), col(Message.tenant_id), col(Message.address)).where(
        col(Message.id).in_(sorted(keys)), col(Message.channel) == Channel.EMAIL.value
    )
    rows = await (await session.connection()).execute(statement)
    return {
        row.id: Match(
            message_id=row.id, tenant_id=row.tenant_id, address=row.address, by=MatchedBy.TOKEN
        )
        for row in rows
    }


async def _by_address(session: AsyncSession, names: set[str]) -> Mapping[str, Sequence[Match]]:
    """Messages of the last days that may still come back, by their address in lower case."""
    if not names:
        return {}
    spelled = names | {name.lower() for name in names} | {_usual(name) for name in names}
    since = datetime.now(UTC) - RECENT
    runs = select(col(CampaignRun.id)).where(col(CampaignRun.run_at) > since)
    statement = select(col(Message.id), col(Message.tenant_id), col(Message.address)).where(
        col(Message.run_id).in_(runs),
        col(Message.channel) == Channel.EMAIL.value,
        col(Message.address).in_(sorted(spelled)),
        col(Message.state).in_(_UNDELIVERED),
    )
    found: dict[str, list[Match]] = {}
    for row in await (await session.connection()).execute(statement):
        match_ = Match(
            message_id=row.id, tenant_id=row.tenant_id, address=row.address, by=MatchedBy.RECIPIENT
        )
        found.setdefault(row.address.lower(), []).append(match_)
    return found


def _usual(address: str) -> str:
    """As audiences spell it: the domain in lower case."""
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"

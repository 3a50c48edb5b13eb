"""Stores texts from handsets: each once, parts joined, keywords carried out in the same breath.

All of a batch is one transaction. The SMSC is answered when it has ended, so whatever is brought
again because the answer was lost is recognised by its digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import text as sql
from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.smpp import Alphabet
from ignition_ext.channels.smpp.incoming import Identity, SmsFragment
from ignition_ext.channels.smpp.incoming_text import join_text
from ignition_ext.database import Database, database_now
from ignition_ext.ledger.rows import clean
from ignition_ext.models import InboundMessage, InboundPart
from ignition_ext.returns.sms_keywords import Text, carry_out
from ignition_ext.schema import database_errors

REPEAT = timedelta(hours=1)
"""An SMSC that got no answer brings the same again within seconds, after an outage of ours within
minutes. The same words later are said anew."""
NUMBERED_REPEAT = timedelta(days=3)
"""The same where the SMSC numbers texts: as long as one keeps what nobody takes."""
PATIENCE = timedelta(minutes=30)
"""How long parts wait for those that are missing; networks deliver within seconds, a handset
without coverage within minutes. A keyword has one part."""
ADDRESS_LENGTH, PART_ADDRESS_LENGTH = 320, 64
MOST_GROUPS = 200
"""Incomplete texts that one sweep stores in one transaction."""


class SmsInbox:
    """Takes what the desk of a bind hands over.

    Args:
        database: Ignition's.
        alphabet: what data_coding 0 is at this SMSC.
        tenant_id: whose the texts are, where that is known; else routes decide.
        wake: called when a reply was written down.
    """

    def __init__(
        self,
        database: Database,
        *,
        alphabet: Alphabet = Alphabet.GSM7,
        tenant_id: int | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._alphabet = database, alphabet
        self._tenant_id, self._wake = tenant_id, wake

    async def store(self, fragments: Sequence[SmsFragment]) -> None:
        """Store texts and parts; when it returns they are safe and what they ask for is done.

        Raises:
            DatabaseError: the database is away; nothing of the batch is stored.
        """
        replies = 0
        with database_errors(self._database):
            async with self._database.write() as session:
                for bind in sorted({fragment.bind for fragment in fragments}):
                    await _lock(session, bind)
                now = await database_now(session)
                for fragment in fragments:
                    replies += await self._take(session, fragment, now)
        if replies:
            self._wake()

    async def acknowledged(self, fragments: Sequence[SmsFragment]) -> None:
        """The SMSC has our answers to these: the same words from now on are said anew.

        Raises:
            DatabaseError: the database is away; they count as brought again if they come again.
        """
        with database_errors(self._database):
            async with self._database.write() as session:
                now = await database_now(session)
                for bind in sorted({one.bind for one in fragments if not one.reference}):
                    digests = {one.digest for one in fragments if one.bind == bind}
                    statement = (
                        update(InboundMessage)
                        .where(
                            col(InboundMessage.bind) == bind,
                            col(InboundMessage.digest).in_(digests),
                            col(InboundMessage.received_at) > now - REPEAT,
                            col(InboundMessage.acknowledged_at).is_(None),
                        )
                        .values(acknowledged_at=now)
                    )
                    await session.exec(statement)

    async def sweep(self, bind: str) -> int:
        """Store what there is of texts whose other parts are overdue; returns how many.

        Also forgets the parts of texts that were joined a while ago.
        """
        stored = 0
        with database_errors(self._database):
            async with self._database.write() as session:
                await _lock(session, bind)
                now = await database_now(session)
                for group in await _overdue(session, bind, now):
                    if group[0].joined_at is None:
                        await self._finish(session, group, now)
                        stored += 1
                    for part in group:
                        await session.delete(part)
        return stored

    async def _take(self, session: AsyncSession, fragment: SmsFragment, now: datetime) -> int:
        if fragment.reference:
            return await self._take_part(session, fragment, now)
        known = await _known(session, fragment, now)
        if known is not None:
            known.repeats += 1
            session.add(known)
            return 0
        return await self._store(session, [fragment], 1, now)

    async def _take_part(self, session: AsyncSession, fragment: SmsFragment, now: datetime) -> int:
        group = await _group(session, fragment)
        same = next((part for part in group if part.part == fragment.part), None)
        if same is not None and same.digest == fragment.digest:
            return 0
        if same is not None or (group and group[0].joined_at is not None):
            # The handset counts its references round: this is another text.
            if group[0].joined_at is None:
                await self._finish(session, group, now)
            for part in group:
                await session.delete(part)
            await session.flush()
            group = []
        new = _part_row(fragment, now)
        session.add(new)
        group.append(new)
        if len(group) < fragment.parts:
            return 0
        replies = await self._finish(session, group, now)
        for part in group:
            part.joined_at = now
            session.add(part)
        await session.flush()
        return replies

    async def _finish(
        self, session: AsyncSession, group: Sequence[InboundPart], now: datetime
    ) -> int:
        ordered = sorted(group, key=lambda part: part.part)
        return await self._store(
            session, [_fragment(part) for part in ordered], ordered[0].parts, now
        )

    async def _store(
        self, session: AsyncSession, fragments: Sequence[SmsFragment], parts: int, now: datetime
    ) -> int:
        """Write one text down and do what it asks for; returns how many replies it is worth."""
        first = fragments[0]
        is_binary = any(fragment.is_binary for fragment in fragments)
        octets = b"".join(fragment.octets for fragment in fragments)
        words = "" if is_binary else join_text(fragments, self._alphabet)
        row = InboundMessage(
            received_at=now,
            bind=clean(first.bind, 200),
            source=clean(first.source, ADDRESS_LENGTH),
            destination=clean(first.destination, ADDRESS_LENGTH),
            text=clean(words, len(words)),
            octets=octets.hex() if is_binary else "",
            data_coding=first.data_coding,
            parts=parts,
            parts_received=len(fragments),
            digest=first.digest if parts == 1 else "",
        )
        text = Text(row=row, is_whole=len(fragments) == parts and not is_binary)
        replies = await carry_out(session, text, tenant_id=self._tenant_id)
        session.add(row)
        await session.flush()
        return replies


async def list_texts(
    session: AsyncSession, *, tenant_id: int | None, since: datetime | None, limit: int
) -> Sequence[InboundMessage]:
    """The newest texts, of one tenant or of all, newest first."""
    query = select(InboundMessage)
    if tenant_id is not None:
        query = query.where(InboundMessage.tenant_id == tenant_id)
    if since is not None:
        query = query.where(InboundMessage.received_at >= since)
    query = query.order_by(col(InboundMessage.received_at).desc(), col(InboundMessage.id).desc())
    return (await session.exec(query.limit(limit))).all()


async def _known(
    session: AsyncSession, fragment: SmsFragment, now: datetime
) -> InboundMessage | None:
    """The text that this one repeats.

    Where something numbers texts, that decides. Where nothing does, it is a repeat unless the SMSC
    is known to have had our answer to the first: then it has no reason to bring it again.
    """
    window = NUMBERED_REPEAT if fragment.identity is Identity.ID else REPEAT
    query = select(InboundMessage).where(
        InboundMessage.bind == fragment.bind,
        InboundMessage.digest == fragment.digest,
        InboundMessage.received_at > now - window,
    )
    if fragment.identity is Identity.NONE:
        query = query.where(col(InboundMessage.acknowledged_at).is_(None))
    return (await session.exec(query)).first()


async def _lock(session: AsyncSession, bind: str) -> None:
    """One at a time stores the texts of a bind; SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        await (await session.connection()).execute(
            sql("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"), {"key": bind}
        )


async def _group(session: AsyncSession, fragment: SmsFragment) -> list[InboundPart]:
    """The parts of the same text that are there."""
    query = select(InboundPart).where(
        InboundPart.bind == clean(fragment.bind, 200),
        InboundPart.source == clean(fragment.source, PART_ADDRESS_LENGTH),
        InboundPart.destination == clean(fragment.destination, PART_ADDRESS_LENGTH),
        InboundPart.reference == fragment.reference,
        InboundPart.parts == fragment.parts,
    )
    return list(await session.exec(query))


async def _overdue(
    session: AsyncSession, bind: str, now: datetime
) -> Sequence[Sequence[InboundPart]]:
    """Whole groups, the newest part of which is old enough."""
    query = (
        select(InboundPart)
        .where(InboundPart.bind == bind, InboundPart.received_at < now - PATIENCE)
        .order_by(col(InboundPart.received_at))
        .limit(MOST_GROUPS)
    )
    groups: dict[tuple[str, str, str, int], list[InboundPart]] = {}
    for part in (await session.exec(query)).all():
        key = part.source, part.destination, part.reference, part.parts
        if key not in groups:
            groups[key] = await _group(session, _fragment(part))
    return [group for group in groups.values() if _is_over(group, now)]


def _is_over(group: Sequence[InboundPart], now: datetime) -> bool:
    joined = group[0].joined_at
    if joined is not None:
        return joined < now - REPEAT
    return max(part.received_at for part in group) < now - PATIENCE


def _part_row(fragment: SmsFragment, now: datetime) -> InboundPart:
    return InboundPart(
        bind=clean(fragment.bind, 200),
        source=clean(fragment.source, PART_ADDRESS_LENGTH),
        destination=clean(fragment.destination, PART_ADDRESS_LENGTH),
        reference=fragment.reference,
        parts=fragment.parts,
        part=fragment.part,
        data_coding=fragment.data_coding,
        octets=fragment.octets.hex(),
        padding=fragment.padding,
        single_shift=fragment.single_shift,
        locking_shift=fragment.locking_shift,
        is_binary=fragment.is_binary,
        digest=fragment.digest,
        received_at=now,
    )


def _fragment(row: InboundPart) -> SmsFragment:
    return SmsFragment(
        bind=row.bind,
        source=row.source,
        destination=row.destination,
        data_coding=row.data_coding,
        octets=bytes.fromhex(row.octets),
        padding=row.padding,
        single_shift=row.single_shift,
        locking_shift=row.locking_shift,
        is_binary=row.is_binary,
        reference=row.reference,
        part=row.part,
        parts=row.parts,
        digest=row.digest,
    )

"""Notes opens and clicks in batches: whoever follows a link never waits for the database.

What is noted stands in memory for a second at most, longer while the database is away. A process
that is killed loses that; one that is stopped writes it first.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import Database
from ignition_ext.errors import DatabaseError
from ignition_ext.models.tracking import TrackedUrl, TrackingEvent, TrackingKind
from ignition_ext.outcomes.origins import Origin, origins_of
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.values import new_id
from ignition_ext.web.agents import Agent

BATCH = 500
"""Notes in one transaction: 2,000 a second make four of them."""
EVERY_SECONDS = 1.0
"""A batch that is not full waits no longer."""
MOST_WAITING = 20_000
"""Notes in memory, 10 MB: ten seconds of 2,000 while the database is away; then some are lost."""
LAST_WORDS_SECONDS = 10.0
"""When the process ends, the database has so long to take the rest."""
_MOST_URLS = 10_000
_URL_LENGTH = 2048

EVENTS: Table = SQLModel.metadata.tables[str(TrackingEvent.__tablename__)]
URLS: Table = SQLModel.metadata.tables[str(TrackedUrl.__tablename__)]
_NAMES = {
    TrackingKind.OPEN: EventName.EMAIL_OPENED,
    TrackingKind.CLICK: EventName.EMAIL_CLICKED,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One open or click; ``url`` is empty for an open.

    ``id`` is given before it is written: a batch of which nobody knows whether it was, because the
    database went away meanwhile, is written once more and stands once.
    """

    id: UUID = field(default_factory=new_id)
    tenant_id: int
    message_id: UUID
    kind: TrackingKind
    at: datetime
    agent: Agent
    url: str = ""


class Recorder:
    """Keeps notes until they are written; one for each process.

    Attributes:
        lost: notes that nobody will ever read, because the database was away for too long.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Note] = deque()
        self._wake = asyncio.Event()
        self._urls: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Notes that are not written yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to write in the running loop."""
        self._task = asyncio.create_task(self._run(), name="recorder")

    def note(self, note: Note) -> None:
        """Keep a note; it is written soon."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(note)
        if len(self._waiting) >= BATCH:
            self._wake.set()

    async def close(self) -> None:
        """Write what is left, as long as the database takes it."""
        self._closed.set()
        self._wake.set()
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                if self._task is not None:
                    await self._task  # ends by itself, with the batch that it has in hand
                while self._waiting:
                    await self._write()
        except (SQLAlchemyError, DatabaseError, OSError) as error:
            _log.error("%s opens and clicks are lost: %s", len(self._waiting), error)

    async def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wake.wait()
            try:
                # Not until none waits: those that came meanwhile would make many small batches.
                for _ in range(max(1, len(self._waiting) // BATCH)):
                    await self._write()
            except Exception as error:  # whatever it was: no page may stop noting unseen
                _log.warning("%s opens and clicks wait: %s", len(self._waiting), error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY_SECONDS):
                        await self._closed.wait()
            if len(self._waiting) < BATCH:
                self._wake.clear()

    async def _write(self) -> None:
        """Write the first batch; it leaves the memory when it is safe."""
        batch = list(islice(self._waiting, BATCH))
        if not batch:
            return
        known: dict[tuple[int, str], int] = {}
        async with self._database.write() as session:
            urls = await self._url_ids(session, batch)
            told = await _first_ones(session, batch)
            await (await session.connection()).execute(
                _insert(session, EVENTS).on_conflict_do_nothing(index_elements=["id"]),
                [_row(note, urls) for note in batch],
            )
            await announce(session, told)
            known = urls
        self._remember(known)
        for _ in batch:
            self._waiting.popleft()

    async def _url_ids(
        self, session: AsyncSession, batch: Sequence[Note]
    ) -> dict[tuple[int, str], int]:
        wanted = {(note.tenant_id, note.url) for note in batch if note.url}
        found = {key: self._urls[key] for key in wanted if key in self._urls}
        # In one order, so that two processes never wait for each other.
        fresh = sorted(wanted - found.keys())
        if fresh:
            found |= await _new_urls(session, fresh)
        return found

    def _remember(self, urls: dict[tuple[int, str], int]) -> None:
        self._urls.update(urls)
        while len(self._urls) > _MOST_URLS:
            self._urls.popitem(last=False)


async def _new_urls(
    session: AsyncSession, keys: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    digests = {(tenant, _digest(url)): (tenant, url) for tenant, url in keys}
    rows = [
        {"tenant_id": tenant, "digest": digest, "url": url[:_URL_LENGTH]}
        for (tenant, digest), (_, url) in digests.items()
    ]
    await (await session.connection()).execute(
        _insert(session, URLS).on_conflict_do_nothing(index_elements=["tenant_id", "digest"]),
        rows,
    )
    query = select(TrackedUrl.tenant_id, TrackedUrl.digest, TrackedUrl.id).where(
        col(TrackedUrl.digest).in_([digest for _, digest in digests])
    )
    return {
        digests[tenant, digest]: number
        for tenant, digest, number in await session.exec(query)
        if number is not None and (tenant, digest) in digests
    }


async def _first_ones(session: AsyncSession, batch: Sequence[Note]) -> list[Announcement]:
    """What is told to others: of each message the first open and the first click by a person."""
    fresh: dict[tuple[UUID, str], Note] = {}
    for note in batch:
        if not note.agent.is_proxy:
            fresh.setdefault((note.message_id, note.kind.value), note)
    if not fresh:
        return []
    query = select(TrackingEvent.message_id, TrackingEvent.kind).where(
        col(TrackingEvent.message_id).in_({message for message, _ in fresh}),
        col(TrackingEvent.is_proxy).is_(False),
    )
    seen = set(await session.exec(query))
    first = [note for key, note in fresh.items() if key not in seen]
    origins = await origins_of(session, {note.message_id for note in first})
    return [_told(note, origins.get(note.message_id, {})) for note in first]


def _insert(session: AsyncSession, table: Table) -> postgresql.Insert | sqlite.Insert:
    is_postgres = session.get_bind().dialect.name == "postgresql"
    return postgresql.insert(table) if is_postgres else sqlite.insert(table)


def _told(note: Note, origin: Origin) -> Announcement:
    payload: dict[str, Any] = {
        **origin,
        "message_id": str(note.message_id),
        "at": note.at.isoformat(),
        "agent": note.agent.value,
    }
    return Announcement(
        tenant_id=note.tenant_id,
        name=_NAMES[note.kind],
        subject=f"message:{note.message_id}",
        payload=payload | ({"url": note.url} if note.url else {}),
    )


def _row(note: Note, urls: dict[tuple[int, str], int]) -> dict[str, Any]:
    return {
        "id": note.id,
        "tenant_id": note.tenant_id,
        "message_id": note.message_id,
        "kind": note.kind.value,
        "at": note.at,
        "agent": note.agent.value,
        "is_proxy": note.agent.is_proxy,
        "url_id": urls.get((note.tenant_id, note.url)),
    }


def kept_url(url: str, *, is_personal: bool) -> str:
    """A target as it is kept: what was made of a recipient's values loses query and fragment."""
    if not is_personal:
        return url
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return ""


def _digest(url: str) -> str:
    return hashlib.blake2b(url.encode(), digest_size=16).hexdigest()

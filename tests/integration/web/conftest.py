"""The pages on a real server on loopback, once on each database, with a tenant and its links."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from sqlmodel import select

from ignition_ext.database import Database
from ignition_ext.links import Addressee, LinkPlan
from ignition_ext.links.payload import CLICKS, OPENS, PEOPLE
from ignition_ext.models import AuditLog, OutboxEvent, Suppression
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, MessageId, new_id
from ignition_ext.web import create_app

KEY = "test" * 10


@dataclass
class Site:
    """The pages, a client that sends no cookies, and what came of it."""

    database: Database
    tenant_id: int
    url: str
    client: httpx.AsyncClient
    message_id: MessageId = field(default_factory=lambda: MessageId(new_id()))

    @property
    def links(self) -> LinkPlan:
        settings = Settings()
        return LinkPlan(
            base=self.url,
            tenant_id=self.tenant_id,
            people=Signer.of(PEOPLE, settings),
            clicks=Signer.of(CLICKS, settings),
            opens=Signer.of(OPENS, settings),
        )

    def token(self, address: str = "ada@example.com", channel: Channel = Channel.EMAIL) -> str:
        return self.links.token(self.message_id, channel, address)

    def about(self, address: str = "ada@example.com") -> Addressee:
        return Addressee(
            tenant_id=self.tenant_id,
            message_id=self.message_id,
            channel=Channel.EMAIL,
            address=address,
        )

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, **form: Any) -> httpx.Response:
        return await self.client.post(path, data=form)

    async def suppressed(self) -> list[tuple[str, str, str]]:
        rows = await self.rows(select(Suppression))
        return [(row.channel, row.address, row.reason) for row in rows]

    async def announced(self) -> list[tuple[str, Mapping[str, Any]]]:
        rows = await self.rows(select(OutboxEvent).where(OutboxEvent.name.like("%recipient%")))  # type: ignore[attr-defined]
        return [(row.name, row.payload | row.private) for row in rows]

    async def audited(self) -> list[str]:
        rows = await self.rows(select(AuditLog).order_by(AuditLog.id))  # type: ignore[arg-type]
        return [row.action for row in rows if row.actor == "web"]

    async def rows(self, query: Any) -> Sequence[Any]:
        async with self.database.read() as session:
            return (await session.exec(query)).all()


@pytest.fixture(autouse=True)
def signing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IGNITION_SIGNING_KEY", KEY)


@pytest.fixture
async def site(database: Database, database_url: str, monkeypatch: Any) -> AsyncIterator[Site]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", database_url)
    tenant = await create_tenant(database, name="acme", title="Acme & Söhne", actor="test")
    assert tenant.id is not None
    async with serving() as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield Site(database, tenant.id, url, client)


@contextmanager
def _no_signals() -> Iterator[None]:
    """The test's own handlers stay."""
    yield


class serving:
    """Serves the pages in this loop on a free port, and ends them as SIGTERM would."""

    async def __aenter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(), log_config=None, access_log=False, timeout_graceful_shutdown=30
        )
        self._server = uvicorn.Server(config)
        self._server.capture_signals = _no_signals  # type: ignore[method-assign]
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started:
            assert not self._task.done()
            await asyncio.sleep(0.01)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def __aexit__(self, *error: object) -> None:
        self._server.should_exit = True
        await self._task
        self._socket.close()

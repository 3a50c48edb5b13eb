"""A tenant in a real database, once on each engine, and short words for what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from sqlmodel import col, select

from ignition_ext.cli import main
from ignition_ext.consent import SuppressionReason, lift, suppress
from ignition_ext.database import Database
from ignition_ext.models import AuditLog, Suppression
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel


@dataclass
class Office:
    """A tenant whose national numbers are German, and who keeps its suppression list."""

    database: Database
    tenant_id: int

    async def suppress(
        self,
        *addresses: str,
        channel: Channel = Channel.EMAIL,
        reason: SuppressionReason = SuppressionReason.MANUAL,
        detail: str = "asked by phone",
    ) -> int:
        async with self.database.write() as session:
            return await suppress(
                session,
                tenant_id=self.tenant_id,
                channel=channel,
                addresses=addresses,
                reason=reason,
                detail=detail,
                actor="test",
            )

    async def lift(
        self,
        *addresses: str,
        channel: Channel = Channel.EMAIL,
        only_reason: SuppressionReason | None = None,
    ) -> int:
        async with self.database.write() as session:
            return await lift(
                session,
                tenant_id=self.tenant_id,
                channel=channel,
                addresses=addresses,
                actor="test",
                detail="asked again",
                only_reason=only_reason,
            )

    async def suppressed(self) -> Sequence[Suppression]:
        return await self.rows(select(Suppression).order_by(col(Suppression.id)))

    async def audited(self, action: str) -> Sequence[AuditLog]:
        """The rows of the audit log that tell of an action, oldest first."""
        return await self.rows(
            select(AuditLog).where(AuditLog.action == action).order_by(col(AuditLog.id))
        )

    async def rows(self, query: Any) -> Sequence[Any]:
        async with self.database.read() as session:
            return list(await session.exec(query))


@pytest.fixture
async def office(database: Database) -> Office:
    """The tenant acme."""
    tenant = await create_tenant(database, name="acme", region="DE", actor="test")
    assert tenant.id is not None
    return Office(database=database, tenant_id=tenant.id)


@dataclass
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def ignition(
    office: Office,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Done]:
    """Runs ``ignition …`` as jane."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", database_url)
    monkeypatch.setenv("IGNITION_ACTOR", "cli:jane")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        out, err = capfd.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return run


@pytest.fixture
async def other_tenant(office: Office) -> int:
    """The key of another tenant."""
    tenant = await create_tenant(office.database, name="other", actor="test")
    assert tenant.id is not None
    return tenant.id

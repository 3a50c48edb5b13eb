"""A tenant's own days without work, beside those of the calendars that its schedules name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError
from ignition_ext.models import TenantSetting
from ignition_ext.tenants import get_tenant, set_tenant_setting

HOLIDAYS = "holidays"
"""The tenant's setting: a list of dates."""
MOST = 2000
"""A decade of bridge days; every schedule of the tenant looks through them."""


async def read_holidays(session: AsyncSession, tenant_id: int) -> frozenset[date]:
    """The tenant's own dates.

    Raises:
        ConfigurationError: what was set is no list of dates.
    """
    row = await session.get(TenantSetting, (tenant_id, HOLIDAYS))
    return frozenset() if row is None else checked_dates(row.value)


async def change_holidays(
    database: Database, *, tenant: str, add: Iterable[str], remove: Iterable[str], actor: str
) -> tuple[list[date], bool]:
    """Add and remove dates, audited; returns all of them, and whether anything changed.

    Raises:
        ConfigurationError: one is no date, or there are too many.
        NotFoundError: there is no such tenant.
    """
    async with database.read() as session:
        found = await get_tenant(session, tenant)
        assert found.id is not None
        before = await read_holidays(session, found.id)
    after = (before | checked_dates(list(add))) - checked_dates(list(remove))
    if len(after) > MOST:
        raise ConfigurationError(
            f"{len(after)} holidays are too many; {MOST} can be kept.", mend="Remove old ones."
        )
    days = sorted(after)
    if after == before:
        return days, False
    await set_tenant_setting(
        database,
        tenant=tenant,
        key=HOLIDAYS,
        value=[day.isoformat() for day in days] or None,
        actor=actor,
    )
    return days, True


def checked_dates(value: Any) -> frozenset[date]:
    """The dates in a list of texts.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        if not isinstance(value, list):
            raise TypeError
        return frozenset(date.fromisoformat(item) for item in value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{value!r} are no dates.",
            mend="Write them as 2026-12-24: ignition tenant holidays NAME --add 2026-12-24",
        ) from error

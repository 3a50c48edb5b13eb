"""A tenant's own days without work: kept, audited, and refused when they are no dates."""

from __future__ import annotations

from datetime import date

import pytest
from sqlmodel import select

from ignition_ext.campaigns.holidays import HOLIDAYS, change_holidays, read_holidays
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError
from ignition_ext.models import AuditLog
from ignition_ext.tenants import create_tenant, set_tenant_setting

EVE = "2026-12-24"


async def test_days_are_added_and_removed(database: Database) -> None:
    """Each change is audited, the same again is none."""
    tenant = await create_tenant(database, name="acme", actor="ada")
    change = {"tenant": "acme", "actor": "ada"}

    assert await change_holidays(database, add=[EVE, "2026-12-31"], remove=[], **change) == (
        [date(2026, 12, 24), date(2026, 12, 31)],
        True,
    )
    assert (await change_holidays(database, add=[EVE], remove=[], **change))[1] is False
    await change_holidays(database, add=[], remove=["2026-12-31"], **change)

    assert tenant.id is not None
    async with database.read() as session:
        assert await read_holidays(session, tenant.id) == {date(2026, 12, 24)}
        log = await session.exec(select(AuditLog).where(AuditLog.actor == "ada"))
        actions = [row.action for row in log]
    assert actions == ["tenant.created", "tenant.setting_changed", "tenant.setting_changed"]


@pytest.mark.parametrize("value", [EVE, [1], ["24.12.2026"], {"a": 1}])
async def test_what_is_no_date_is_refused(database: Database, value: object) -> None:
    """Also where it was set by the general command."""
    tenant = await create_tenant(database, name="acme", actor="ada")
    await set_tenant_setting(database, tenant="acme", key=HOLIDAYS, value=value, actor="ada")
    assert tenant.id is not None

    async with database.read() as session:
        with pytest.raises(ConfigurationError, match="are no dates"):
            await read_holidays(session, tenant.id)

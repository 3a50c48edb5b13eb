"""Tenants and their settings, on both databases."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import col, select

from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, ConflictError, NotFoundError
from ignition_ext.models import AuditLog
from ignition_ext.tenants import (
    create_tenant,
    get_tenant,
    list_tenants,
    set_tenant_setting,
    tenant_settings,
)


async def actions(database: Database) -> list[str]:
    async with database.read() as session:
        rows = await session.exec(select(AuditLog.action).order_by(col(AuditLog.id)))
        return list(rows.all())


async def test_a_tenant_is_created_found_and_listed(database: Database) -> None:
    """What was given is stored in its normal form, and the change is audited."""
    made = await create_tenant(
        database,
        name="acme",
        title="Acme GmbH",
        timezone="Europe/Berlin",
        region="de",
        locale="de_DE",
        actor="test",
    )
    await create_tenant(database, name="abc", actor="test")

    async with database.read() as session:
        found = await get_tenant(session, "acme")
        names = [tenant.name for tenant in await list_tenants(session)]
    assert found.id == made.id
    assert (found.timezone, found.region, found.locale) == ("Europe/Berlin", "DE", "de-DE")
    assert names == ["abc", "acme"]
    assert await actions(database) == ["tenant.created", "tenant.created"]


async def test_a_second_tenant_of_the_same_name_is_refused(database: Database) -> None:
    """Also when both are created at once: one wins, the other is told."""
    results = await asyncio.gather(
        *(create_tenant(database, name="acme", actor="test") for _ in range(4)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, ConflictError) for result in results) == 3
    assert await actions(database) == ["tenant.created"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Acme"),
        ("name", "a/b"),
        ("name", ""),
        ("name", "-a"),
        ("name", "a" * 64),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("timezone", "Europe"),
        ("region", "XX"),
        ("region", ""),
        ("locale", "klingon"),
        ("locale", ""),
        ("title", "a\nb"),
        ("title", "a" * 201),
    ],
)
async def test_a_wrong_value_is_named_and_changes_nothing(
    database: Database, field: str, value: str
) -> None:
    """The message holds the value or what is wrong with it, and a mend."""
    with pytest.raises(ConfigurationError) as caught:
        await create_tenant(database, **{"name": "acme", "actor": "test", field: value})

    assert caught.value.mend
    async with database.read() as session:
        assert not await list_tenants(session)


async def test_an_unknown_tenant_says_how_to_create_it(database: Database) -> None:
    """The mend is a command that can be typed."""
    async with database.read() as session:
        with pytest.raises(NotFoundError) as caught:
            await get_tenant(session, "nobody")

    assert caught.value.mend == "Run: ignition tenant create nobody"


async def test_settings_are_kept_changed_and_removed_with_a_trace(database: Database) -> None:
    """Setting the same value again changes nothing and leaves no row."""
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None

    async def put(value: object) -> bool:
        return await set_tenant_setting(
            database, tenant="acme", key="brand.colour", value=value, actor="test"
        )

    assert [await put("#fff"), await put("#fff"), await put({"dark": 1})] == [True, False, True]
    async with database.read() as session:
        assert await tenant_settings(session, tenant.id) == {"brand.colour": {"dark": 1}}
    assert [await put(None), await put(None)] == [True, False]
    async with database.read() as session:
        assert await tenant_settings(session, tenant.id) == {}
    changed = "tenant.setting_changed"
    assert await actions(database) == [
        "tenant.created",
        changed,
        changed,
        "tenant.setting_removed",
    ]


async def test_a_setting_needs_a_proper_key(database: Database) -> None:
    """A key becomes part of messages and commands."""
    await create_tenant(database, name="acme", actor="test")

    with pytest.raises(ConfigurationError):
        await set_tenant_setting(database, tenant="acme", key="A b", value=1, actor="test")

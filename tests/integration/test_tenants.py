"""Tenants and their settings, on both databases."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import col, select

from ignition_ext.budgets.lines import Lines
from ignition_ext.budgets.rate import Limit, Want
from ignition_ext.campaigns.rates import announce_tenant
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, ConflictError, NotFoundError
from ignition_ext.models import AuditLog, RateBudget
from ignition_ext.tenants import (
    CONCURRENT_RUNS,
    PER_DOMAIN,
    PER_SECOND,
    create_tenant,
    get_tenant,
    list_tenants,
    set_tenant_setting,
    tenant_rates,
    tenant_settings,
    tenants_runs,
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


@pytest.mark.parametrize("key", [PER_SECOND, PER_DOMAIN])
@pytest.mark.parametrize("value", [0, -1, "fast", True, 1e9, float("nan")])
async def test_a_rate_has_to_be_one(database: Database, key: str, value: object) -> None:
    """Or every message would wait for ever."""
    await create_tenant(database, name="acme", actor="test")
    with pytest.raises(ConfigurationError, match=key):
        await set_tenant_setting(database, tenant="acme", key=key, value=value, actor="test")


async def test_each_change_of_a_rate_has_a_later_revision(database: Database) -> None:
    """By the database's clock, so that senders know the newer of two."""
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    revisions = []
    for rate in (10, 20, 30):
        await set_tenant_setting(database, tenant="acme", key=PER_SECOND, value=rate, actor="test")
        async with database.read() as session:
            found, revision = (await tenant_rates(session, tenant.id))[PER_SECOND]
        assert found == rate
        revisions.append(revision)

    assert revisions == sorted(set(revisions))


async def test_a_changed_rate_reaches_the_lines_in_use(database: Database) -> None:
    """Those of the tenant and of each of its domains, and no other tenant's."""
    tenant = await create_tenant(database, name="acme", actor="test")
    lines = Lines(database)
    keys = ("tenant:acme", "domain:acme:x.example", "domain:acme2:x.example")
    await lines.take([Want(limit=Limit(key=key, rate=1), count=1) for key in keys])
    for key in (PER_SECOND, PER_DOMAIN):
        await set_tenant_setting(database, tenant="acme", key=key, value=50, actor="test")
    await announce_tenant(database, tenant)

    async with database.read() as session:
        rows = {row.key: row.rate for row in await session.exec(select(RateBudget))}
    assert rows == {keys[0]: 50, keys[1]: 50, keys[2]: 1}


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", 1001])
async def test_runs_at_once_are_a_whole_number(database: Database, count: object) -> None:
    """What is no such number is refused; a tenant that says nothing may run any number."""
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    with pytest.raises(ConfigurationError, match=r"concurrency\.runs"):
        await set_tenant_setting(
            database, tenant="acme", key=CONCURRENT_RUNS, value=count, actor="test"
        )
    async with database.read() as session:
        assert await tenants_runs(session, tenant.id) is None
    await set_tenant_setting(database, tenant="acme", key=CONCURRENT_RUNS, value=2, actor="test")
    async with database.read() as session:
        assert await tenants_runs(session, tenant.id) == 2

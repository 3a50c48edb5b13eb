"""``ignition tenant``: who campaigns belong to."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

from cyclopts import App, Parameter

from ignition_ext import tenants
from ignition_ext.campaigns.holidays import change_holidays
from ignition_ext.campaigns.rates import announce_tenant
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json, print_table
from ignition_ext.errors import NotFoundError
from ignition_ext.models import Tenant

app = App(name="tenant", help="Tenants: who campaigns, audiences and templates belong to.")

Json = Annotated[bool, Parameter(negative="")]
FIELDS = ("name", "title", "timezone", "region", "locale", "created_at")


@app.command
async def create(
    name: str,
    /,
    *,
    title: str = "",
    timezone: str = "UTC",
    region: str = "US",
    locale: str = "en",
    json: Json = False,
) -> None:
    """Create a tenant.

    Args:
        name: Small letters, digits and hyphens; also the folder's name under deployments/.
        title: Its name for people; NAME when not given.
        timezone: IANA name, such as Europe/Berlin, for schedules and templates.
        region: Two-letter country code that telephone numbers without + are read in.
        locale: Such as de-DE, for dates and numbers in templates.
        json: Print the tenant as one JSON document.
    """
    async with open_database() as database:
        tenant = await tenants.create_tenant(
            database,
            name=name,
            title=title,
            timezone=timezone,
            region=region,
            locale=locale,
            actor=actor(),
        )
    if json:
        print_json(_fields(tenant))
    else:
        note(f"Created tenant {tenant.name} ({tenant.timezone}, {tenant.region}, {tenant.locale}).")


@app.command(name="list")
async def list_(*, json: Json = False) -> None:
    """List all tenants.

    Args:
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        rows = [_fields(tenant) for tenant in await tenants.list_tenants(session)]
    if json:
        print_json(rows)
    else:
        print_table(rows, *FIELDS[:-1])


@app.command
async def get(name: str, key: str | None = None, /, *, json: Json = False) -> None:
    """Print what a tenant has set, all or one value.

    Args:
        name: The tenant.
        key: One setting; without it all.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        tenant = await tenants.get_tenant(session, name)
        assert tenant.id is not None
        settings = await tenants.tenant_settings(session, tenant.id)
    if key is not None and key not in settings:
        raise NotFoundError(
            f"tenant {name!r} has not set {key!r}.",
            mend=f"Run: ignition tenant set {name} {key} VALUE",
        )
    if json:
        print_json(settings if key is None else settings[key])
    else:
        chosen = settings if key is None else {key: settings[key]}
        print_table(
            [
                {"key": name, "value": jsonlib.dumps(value, ensure_ascii=False)}
                for name, value in chosen.items()
            ],
            "key",
            "value",
        )


@app.command(name="set")
async def set_(name: str, key: str, value: str, /, *, json: Json = False) -> None:
    """Set one value of a tenant.

    Args:
        name: The tenant.
        key: Small letters, digits, dots, hyphens and underscores; throttle.per_second and
            throttle.per_domain are rates of all the tenant's messages, concurrency.runs is how many
            of its runs may be under way at once, budget.day and budget.month are what all its
            messages may cost, such as '150.00 EUR', caps.email and caps.sms are how many messages
            an address gets, such as '{"messages": 3, "days": 7}', preferences.topics is what
            recipients choose among.
        value: JSON, or a text as it stands; null takes the setting away.
        json: Print one JSON document.
    """
    parsed = _parsed(value)
    async with open_database() as database:
        changed = await tenants.set_tenant_setting(
            database, tenant=name, key=key, value=parsed, actor=actor()
        )
        if changed and key in (tenants.PER_SECOND, tenants.PER_DOMAIN):
            async with database.read() as session:
                tenant = await tenants.get_tenant(session, name)
            await announce_tenant(database, tenant)
    if json:
        print_json({"tenant": name, "key": key, "value": parsed, "changed": changed})
    else:
        done = "is taken away" if parsed is None else "is set"
        note(f"{key} of {name} {done if changed else 'was so already'}.")


@app.command
async def holidays(
    name: str,
    /,
    *,
    add: tuple[str, ...] = (),
    remove: tuple[str, ...] = (),
    json: Json = False,
) -> None:
    """Print a tenant's own days without work, after adding and removing some.

    Args:
        name: The tenant.
        add: A date such as 2026-12-24; may be given several times.
        remove: The same.
        json: Print one JSON document.
    """
    async with open_database() as database:
        days, changed = await change_holidays(
            database, tenant=name, add=add, remove=remove, actor=actor()
        )
    if json:
        dates = [day.isoformat() for day in days]
        print_json({"tenant": name, "holidays": dates, "changed": changed})
    else:
        print_table(
            [{"date": f"{day:%Y-%m-%d}", "day": f"{day:%A}"} for day in days], "date", "day"
        )


def _parsed(value: str) -> Any:
    try:
        return jsonlib.loads(value)
    except ValueError:
        return value


def _fields(tenant: Tenant) -> dict[str, Any]:
    return tenant.model_dump(include=set(FIELDS))

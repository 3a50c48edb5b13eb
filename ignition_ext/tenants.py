"""Tenants, and what they set at run time; every change is audited."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from babel import Locale, UnknownLocaleError
from babel.numbers import list_currencies
from phonenumbers import SUPPORTED_REGIONS
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.caps import read_caps
from ignition_ext.database import Database, database_now
from ignition_ext.errors import ConfigurationError, ConflictError, NotFoundError
from ignition_ext.links import options as link_options
from ignition_ext.models import Tenant, TenantSetting
from ignition_ext.values import Channel

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""As campaign files write it: it becomes a folder, a tag and part of a deployment's name."""
TITLE_LENGTH = 200
PER_SECOND, PER_DOMAIN = "throttle.per_second", "throttle.per_domain"
"""Settings that are rates: of all messages of the tenant, and of those to one recipient domain."""
UNFIT_PERCENT, INVALID_PERCENT = "preflight.unfit_percent", "preflight.invalid_percent"
"""Settings that pre-flight lets pass: of messages that cannot go out, of rows that are nobody."""
CONCURRENT_RUNS = "concurrency.runs"
"""The setting for how many runs of a tenant's may be under way at once."""
CAPS = {"caps.email": Channel.EMAIL, "caps.sms": Channel.SMS}
"""Settings that are frequency caps: how many messages an address gets within how many days."""
PREFERENCE_TOPICS = "preferences.topics"
"""The setting for what recipients may choose among: a list of names."""
MOST_TOPICS = 50
"""Topics: beyond what a person reads through on one page."""
SOFT_BOUNCES, SOFT_DAYS = "bounces.soft_limit", "bounces.soft_days"
"""Settings for addresses that are not reached for now: suppressed after so many in so many days."""
BUDGET_DAY, BUDGET_MONTH = "budget.day", "budget.month"
"""Settings that are budgets of all the tenant's messages: ``150.00 EUR``."""
HIGHEST_RATE = 100_000
"""Messages a second: beyond any server, so a slip of the pen."""
MOST_RUNS = 1_000
"""Runs at once: beyond any set of workers, so a slip of the pen."""
SETTING_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,99}")


async def create_tenant(
    database: Database,
    *,
    name: str,
    title: str = "",
    timezone: str = "UTC",
    region: str = "US",
    locale: str = "en",
    actor: str,
) -> Tenant:
    """Create a tenant.

    Args:
        database: Ignition's.
        name: a slug: small letters, digits, hyphens.
        title: its name for people; the slug when empty.
        timezone: IANA name, for schedules and templates.
        region: ISO 3166 code that telephone numbers without ``+`` are read in.
        locale: BCP 47 tag, for dates and numbers in templates.
        actor: for the audit log.

    Raises:
        ConfigurationError: a value is not what it should be; says which.
        ConflictError: there is a tenant of that name.
    """
    tenant = Tenant(
        name=checked_name(name),
        title=_checked_title(title) or name,
        timezone=checked_timezone(timezone),
        region=checked_region(region),
        locale=checked_locale(locale),
    )
    try:
        async with database.write() as session:
            session.add(tenant)
            await session.flush()
            assert tenant.id is not None
            await audit.record(
                session,
                tenant_id=tenant.id,
                actor=actor,
                action="tenant.created",
                subject=f"tenant:{tenant.name}",
                after=tenant.model_dump(include={"name", "title", "timezone", "region", "locale"}),
            )
    except IntegrityError as error:
        raise ConflictError(
            f"there is a tenant {name!r} already.", mend="Run: ignition tenant list"
        ) from error
    return tenant


async def get_tenant(session: AsyncSession, name: str) -> Tenant:
    """The tenant of that name.

    Raises:
        NotFoundError: there is none.
    """
    query = select(Tenant).where(Tenant.name == name, col(Tenant.deleted_at).is_(None))
    tenant = (await session.exec(query)).one_or_none()
    if tenant is None:
        raise NotFoundError(
            f"there is no tenant {name!r}.", mend=f"Run: ignition tenant create {name}"
        )
    return tenant


async def list_tenants(session: AsyncSession) -> Sequence[Tenant]:
    """All tenants, by name."""
    query = select(Tenant).where(col(Tenant.deleted_at).is_(None)).order_by(col(Tenant.name))
    return (await session.exec(query)).all()


async def tenant_settings(session: AsyncSession, tenant_id: int) -> Mapping[str, Any]:
    """What the tenant has set, by key."""
    query = (
        select(TenantSetting)
        .where(TenantSetting.tenant_id == tenant_id)
        .order_by(col(TenantSetting.key))
    )
    return {row.key: row.value for row in await session.exec(query)}


async def tenant_rates(session: AsyncSession, tenant_id: int) -> Mapping[str, tuple[float, int]]:
    """The rates that the tenant has set, by key, each with a number that grows when it changes."""
    query = select(TenantSetting).where(
        TenantSetting.tenant_id == tenant_id,
        col(TenantSetting.key).in_([PER_SECOND, PER_DOMAIN]),
    )
    return {
        row.key: (float(row.value), int(row.updated_at.timestamp() * 1_000_000))
        for row in await session.exec(query)
    }


async def tenants_runs(session: AsyncSession, tenant_id: int) -> int | None:
    """How many runs of the tenant's may be under way at once; None for any number."""
    row = await session.get(TenantSetting, (tenant_id, CONCURRENT_RUNS))
    return None if row is None else int(row.value)


async def set_tenant_setting(
    database: Database, *, tenant: str, key: str, value: Any, actor: str
) -> bool:
    """Set one value of a tenant; None takes it away. Returns whether anything changed.

    Raises:
        ConfigurationError: the key is not one, or the value of a known one cannot be it.
        NotFoundError: there is no such tenant.
    """
    if key in (PER_SECOND, PER_DOMAIN) and value is not None:
        value = checked_rate(key, value)
    if key in (UNFIT_PERCENT, INVALID_PERCENT) and value is not None:
        value = checked_percent(key, value)
    if key in (CONCURRENT_RUNS, SOFT_BOUNCES, SOFT_DAYS) and value is not None:
        value = checked_count(key, value)
    if key in (BUDGET_DAY, BUDGET_MONTH) and value is not None:
        value = checked_budget(key, value)
    if key in CAPS and value is not None:
        read_caps(key, value)
    if key == PREFERENCE_TOPICS and value is not None:
        value = checked_topics(key, value)
    if key in link_options.CHECKS and value is not None:
        value = link_options.CHECKS[key](value, key)
    if not SETTING_KEY.fullmatch(key):
        raise ConfigurationError(
            f"{key!r} cannot be the name of a setting.",
            mend="Use small letters, digits, dots, hyphens and underscores, a letter first.",
        )
    async with database.write() as session:
        found = await get_tenant(session, tenant)
        assert found.id is not None
        row = await session.get(TenantSetting, (found.id, key))
        before = row.value if row else None
        if before == value and type(before) is type(value):
            return False
        if row is None:
            now = await database_now(session)
            session.add(TenantSetting(tenant_id=found.id, key=key, value=value, updated_at=now))
        elif value is None:
            await session.delete(row)
        else:
            # Each change has a later time, which tells senders the newer of two rates.
            later = row.updated_at + timedelta(microseconds=1)
            row.value, row.updated_at = value, max(await database_now(session), later)
        await audit.record(
            session,
            tenant_id=found.id,
            actor=actor,
            action="tenant.setting_changed" if value is not None else "tenant.setting_removed",
            subject=f"tenant:{found.name}",
            before=None if before is None else {key: before},
            after=None if value is None else {key: value},
        )
    return True


def checked_name(name: str) -> str:
    """The name, if it is a slug.

    Raises:
        ConfigurationError: it is not.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a tenant's name.",
            mend="Use up to 63 small letters, digits and hyphens, a letter or digit first.",
        )
    return name


def checked_rate(key: str, value: Any) -> float:
    """Messages a second.

    Raises:
        ConfigurationError: the value is no rate.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= HIGHEST_RATE:
        raise ConfigurationError(
            f"{value!r} cannot be {key}.",
            mend=f"Give messages a second, above 0 and at most {HIGHEST_RATE}; null for no limit.",
        )
    return float(value)


def checked_percent(key: str, value: Any) -> float:
    """A share of 100.

    Raises:
        ConfigurationError: the value is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 100:
        raise ConfigurationError(
            f"{value!r} cannot be {key}.",
            mend="Give a number from 0 to 100; null for the setting of this installation.",
        )
    return float(value)


def checked_count(key: str, value: Any) -> int:
    """How many of something, at least one.

    Raises:
        ConfigurationError: the value is no such number.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_RUNS:
        raise ConfigurationError(
            f"{value!r} cannot be {key}.",
            mend=f"Give a whole number from 1 to {MOST_RUNS}; null for no limit.",
        )
    return value


def checked_topics(key: str, value: Any) -> list[str]:
    """Names of topics, each once.

    Raises:
        ConfigurationError: the value is no such list.
    """
    fits = isinstance(value, list) and all(
        isinstance(topic, str) and NAME.fullmatch(topic) for topic in value
    )
    if not fits or len(set(value)) != len(value) or len(value) > MOST_TOPICS:
        raise ConfigurationError(
            f"{value!r} cannot be {key}.",
            mend='Give a list of names such as ["news", "offers"]: small letters, digits, hyphens,'
            f" at most {MOST_TOPICS}; null for none.",
        )
    return list(value)


def checked_budget(key: str, value: Any) -> str:
    """An amount above 0 with its currency.

    Raises:
        ConfigurationError: the value is none.
    """
    amount, _, currency = str(value).strip().partition(" ")
    is_amount = re.fullmatch(r"\d{1,12}(\.\d{1,6})?", amount, re.ASCII) and float(amount) > 0
    if not is_amount or currency.strip().upper() not in list_currencies():
        raise ConfigurationError(
            f"{value!r} cannot be {key}.",
            mend="Give an amount and a currency (ISO 4217), such as '150.00 EUR'; null for none.",
        )
    return f"{amount} {currency.strip().upper()}"


def checked_timezone(timezone: str) -> str:
    """The IANA name of a time zone.

    Raises:
        ConfigurationError: there is no such zone.
    """
    if timezone not in available_timezones():
        raise ConfigurationError(
            f"{timezone!r} is not a time zone.", mend="Use an IANA name such as Europe/Berlin."
        )
    return timezone


def checked_region(region: str) -> str:
    """The region's ISO 3166 code in capitals.

    Raises:
        ConfigurationError: there is no such region.
    """
    code = region.upper()
    if code not in SUPPORTED_REGIONS:
        raise ConfigurationError(
            f"{region!r} is not a region that telephone numbers belong to.",
            mend="Use a two-letter country code (ISO 3166) such as DE.",
        )
    return code


def checked_locale(locale: str) -> str:
    """The locale as a BCP 47 tag: ``de-DE`` also for ``de_DE``.

    Raises:
        ConfigurationError: Babel knows no such locale.
    """
    try:
        return str(Locale.parse(locale.replace("-", "_"))).replace("_", "-")
    except (UnknownLocaleError, ValueError) as error:
        raise ConfigurationError(
            f"{locale!r} is not a locale.", mend="Use a tag such as de or de-DE."
        ) from error


def _checked_title(title: str) -> str:
    if len(title) > TITLE_LENGTH or any(ord(sign) < ord(" ") for sign in title):
        raise ConfigurationError(
            f"the title is longer than {TITLE_LENGTH} signs or has line breaks.",
            mend="Give a short name for people to read.",
        )
    return title

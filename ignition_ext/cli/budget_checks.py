"""What ``ignition doctor`` says of budgets."""

from __future__ import annotations

from ignition_ext.costs.exhausted import exhausted_accounts
from ignition_ext.costs.money import amount_text
from ignition_ext.database import Database
from ignition_ext.errors import IgnitionError
from ignition_ext.health.check import Check, hint, passed
from ignition_ext.models import MoneyAccount
from ignition_ext.schema import require_current
from ignition_ext.settings import Settings


async def check_budgets(settings: Settings) -> list[Check]:
    """The budgets that are used up while runs want to send."""
    try:
        database = Database(settings.database_url)
    except IgnitionError:
        return []  # told by the check of the database
    try:
        await require_current(database)
        async with database.read() as session:
            rows = await exhausted_accounts(session)
    except IgnitionError:
        return []
    finally:
        await database.close()
    return [_told(row) for row in rows] or [passed("budgets", "none is used up")]


def _told(row: MoneyAccount) -> Check:
    until = "" if row.ends_at is None else f", until {row.ends_at:%Y-%m-%d %H:%M} UTC"
    return hint(
        "budgets",
        f"{row.key} is used up{until}: {amount_text(row.spent, row.currency)} of"
        f" {amount_text(row.budget, row.currency)} {row.currency} spent.",
        "Raise it in the campaign file or with ignition tenant set; or leave it to wait.",
    )

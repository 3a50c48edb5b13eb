"""What ``ignition doctor`` says of budgets."""

from __future__ import annotations

from ignition_ext.cli.context import ask
from ignition_ext.costs.exhausted import exhausted_accounts
from ignition_ext.costs.money import amount_text
from ignition_ext.health.check import Check, hint, passed
from ignition_ext.models import MoneyAccount
from ignition_ext.settings import Settings


async def check_budgets(settings: Settings) -> list[Check]:
    """The budgets that are used up while runs want to send."""
    rows = await ask(settings, exhausted_accounts)
    if rows is None:
        return []
    return [_told(row) for row in rows] or [passed("budgets", "none is used up")]


def _told(row: MoneyAccount) -> Check:
    until = "" if row.ends_at is None else f", until {row.ends_at:%Y-%m-%d %H:%M} UTC"
    return hint(
        "budgets",
        f"{row.key} is used up{until}: {amount_text(row.spent, row.currency)} of"
        f" {amount_text(row.budget, row.currency)} {row.currency} spent.",
        "Raise it in the campaign file or with ignition tenant set; or leave it to wait.",
    )

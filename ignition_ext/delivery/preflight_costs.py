"""The part of pre-flight that is about money: prices, and whether the budgets allow the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ignition_ext.costs.budget import Budget
from ignition_ext.costs.budget_store import budgets_of, left_of
from ignition_ext.costs.card import Card
from ignition_ext.costs.card_store import card_in_force, open_card
from ignition_ext.costs.money import amount_text
from ignition_ext.database import Database
from ignition_ext.delivery.examine import Examined
from ignition_ext.delivery.finding import Finding, Severity
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.values import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What decides about money before a run begins.

    Attributes:
        card: in force now, None without any.
        budgets: that the run falls under, each with what is left of it now.
    """

    card: Card | None
    budgets: Sequence[tuple[Budget, int]]


async def read_purse(database: Database, plan: CampaignPlan) -> Purse:
    """The tenant's prices, and what may be spent."""
    campaign = plan.stored.campaign
    assert campaign.id is not None
    async with database.read() as session:
        row = await card_in_force(session, campaign.tenant_id)
        card = None if row is None else await open_card(session, row)
        budgets = await budgets_of(session, campaign.tenant_id, campaign.id)
        zone = ZoneInfo(plan.stored.tenant.timezone)
        left = [
            (budget, await left_of(session, campaign.tenant_id, owner, budget, zone))
            for owner, budget in budgets
        ]
    return Purse(card=card, budgets=left)


def judge_costs(found: Examined, purse: Purse) -> list[Finding]:
    """What is to be said of a run's cost."""
    findings: list[Finding] = []
    if purse.card is None:
        if purse.budgets and found.channel is Channel.SMS:
            text = f"there is a budget of {purse.budgets[0][0]} and no rate card in force"
            mend = "Run: ignition rates import FILE.csv --tenant TENANT --currency CODE"
            findings.append(Finding(severity=Severity.ERROR, text=text, mend=mend))
        return findings
    cost = found.cost
    assert cost is not None
    total = cost.total
    if total.unpriced:
        shown = ", ".join(found.unpriced)
        severity = Severity.ERROR if purse.budgets else Severity.WARNING
        then = "; with a budget they are not sent" if purse.budgets else ""
        text = (
            f"rate card {cost.card} has no price for {total.unpriced} segments,"
            f" to numbers such as {shown}{then}"
        )
        mend = "Add their prefixes to the rate card and import it again."
        findings.append(Finding(severity=severity, text=text, mend=mend))
    for budget, left in purse.budgets:
        findings += _budget(budget, left, total.micros, cost.currency)
    return findings


def _budget(budget: Budget, left: int, micros: int, currency: str) -> list[Finding]:
    if budget.money.currency != currency:
        text = f"the budget is {budget}, and the rate card is in {currency}"
        mend = f"Set the budget in {currency}."
        return [Finding(severity=Severity.ERROR, text=text, mend=mend)]
    if micros <= left:
        return []
    text = (
        f"the run would cost {amount_text(micros, currency)} {currency}, and of the budget of"
        f" {budget} {amount_text(max(left, 0), currency)} {currency} are left"
    )
    mend = "Raise the budget, or send to fewer with --limit."
    return [Finding(severity=Severity.ERROR, text=text, mend=mend)]

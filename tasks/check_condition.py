"""Asks whether what a schedule makes its runs depend on is so."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from pydantic import JsonValue

from ignition_ext.audience import open_source
from ignition_ext.audience.question import ask_database
from ignition_ext.campaigns.condition import ConditionSpec
from ignition_ext.campaigns.paths import find_file
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import AudienceError, ConfigurationError, NotFoundError
from ignition_ext.orchestration.database_block import resolve_database
from tasks.database import open_database

FALSE_WORDS = frozenset({"", "false", "0", "no", "off"})
"""Prefect's UI stores what a person types as text."""


@task(cache_policy=NO_CACHE, persist_result=False)
async def check_condition(plan: CampaignPlan, condition: ConditionSpec) -> str | None:
    """Why the condition does not hold; None if it does.

    Raises:
        IgnitionError: it cannot be told; the run then fails, and sends nothing on a guess.
    """
    reason = await _asked(plan, condition)
    get_run_logger().info("condition: %s", reason or "holds")
    return reason


async def _asked(plan: CampaignPlan, condition: ConditionSpec) -> str | None:
    if condition.all is not None:
        for part in condition.all:
            if (reason := await _asked(plan, part)) is not None:
                return reason
        return None
    if condition.sql is not None and condition.block is not None:
        url = await resolve_database(condition.block)
        holds = await ask_database(url, condition.sql, block=condition.block)
        return None if holds else f"the condition does not hold: {_short(condition.sql)}"
    if condition.variable is not None:
        return await _variable(condition.variable, condition.equals)
    if condition.file is not None:
        found = find_file(plan.stored.base_path, condition.file)
        return None if found else f"there is no file {condition.file}"
    return await _audience(plan, condition.where, condition.min_audience or 1)


async def _variable(name: str, wanted: JsonValue) -> str | None:
    async with get_client() as client:
        variable = await client.read_variable_by_name(name)
    if variable is None:
        raise NotFoundError(
            f"the condition names the Prefect variable {name}, and there is none.",
            mend=f"Run: prefect variable set {name} true",
        )
    value = variable.value
    if wanted is not None:
        same = value == wanted or str(value).strip().lower() == str(wanted).strip().lower()
        return None if same else f"the variable {name} is {value!r}, not {wanted!r}"
    false = value.strip().lower() in FALSE_WORDS if isinstance(value, str) else not value
    return f"the variable {name} is {value!r}" if false else None


async def _audience(plan: CampaignPlan, where: str | None, least: int) -> str | None:
    """Count no further than needed."""
    spec = plan.stored.definition.audience
    if where is not None:
        both = f"({spec.where}) AND ({where})" if spec.where else where
        spec = spec.model_copy(update={"where": both})
    found = 0
    try:
        async with (
            open_database() as database,
            open_source(
                database,
                tenant=plan.stored.tenant,
                spec=spec,
                base_path=plan.stored.base_path,
                resolve_block=resolve_database,
                rejects=None,
            ) as source,
        ):
            async for batch in source.batches():
                found += len(batch)
                if found >= least:
                    return None
    except AudienceError as error:
        raise ConfigurationError(
            f"the condition on the audience cannot be told: {error.message}", mend=error.mend
        ) from error
    whom = f" for whom {_short(where)}" if where else ""
    return f"the audience has {found} recipients{whom}, {least} are needed"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 200 else f"{words[:199]}…"

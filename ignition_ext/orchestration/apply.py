"""Brings the database and Prefect to what a campaign file says.

A failure changes nothing. The order sees to that: first everything is looked at (tenant, template,
audience, work pool, block), then the rows are written and *not yet* committed, then Prefect takes
the deployment in one request, then the rows are committed. Prefect's refusal rolls the rows back;
should the commit fail, the deployment is put back. What is left is the loss of the whole machine
between the last two steps: then Prefect has the new schedules, the database the old version, and
applying the file again mends it, because both sides are always compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from sqlalchemy.exc import IntegrityError

from ignition_ext.campaigns import store
from ignition_ext.campaigns.chain import in_order
from ignition_ext.campaigns.chain_checks import check_chains, require_no_cycle
from ignition_ext.campaigns.checks import Blame, check_against_tenant
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.file import load_campaign_file
from ignition_ext.campaigns.rates import announce_campaign
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, IgnitionError
from ignition_ext.models import Tenant
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.blocks import find_block
from ignition_ext.orchestration.chains import require_no_dependents
from ignition_ext.orchestration.deployments import (
    DeploymentSpec,
    Ensured,
    Known,
    campaign_deployment,
    delete_deployment,
    deployment_name,
    ensure_deployment,
    read_known,
    undo,
)
from ignition_ext.orchestration.pools import find_pool
from ignition_ext.orchestration.timetables import read_timetable
from ignition_ext.values import Channel

PREFECT_SECONDS = 20.0
"""How long Prefect may take while our rows are locked: less than other writers wait for SQLite."""

AT_ONCE = 50
"""Deployments that are asked for in one request; those that have to be changed are read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A campaign file that was found right, and where it is going."""

    file: Path
    definition: CampaignDefinition
    tenant: Tenant
    deployment: DeploymentSpec

    @property
    def base_path(self) -> Path:
        """The folder that the campaign's files are taken from."""
        return self.file.resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What applying one file did."""

    campaign: str
    file: Path
    version: int
    changed: bool
    deployment_id: UUID
    deployment_changed: tuple[str, ...]


async def plan(
    database: Database,
    client: PrefectClient,
    file: Path,
    *,
    environment: str,
    seen: set[object] | None = None,
) -> Plan | None:
    """Check one file against database and server; None when it is not for this environment.

    Args:
        database: Ignition's.
        client: of the Prefect server.
        file: the campaign file.
        environment: the one that this is.
        seen: pools and blocks that were found for the files before it, and need not be asked for
            again; this file's are added.

    Raises:
        CampaignFileError: something does not fit; it names the line.
    """
    definition = load_campaign_file(file)
    if definition.environments and environment not in definition.environments:
        await _require_absent(database, definition, file)
        return None
    tenant = await check_against_tenant(database, definition, file=file)
    spec = campaign_deployment(definition, timezone=tenant.timezone)
    blame = Blame(file)
    seen = set() if seen is None else seen
    for channel in definition.legs:
        if channel.value not in seen:
            await find_pool(client, channel.value)
        seen.add(channel.value)
        field = ("block",) if channel is definition.message_channel else ("sms", "block")
        try:
            await _require_block(client, definition.leg(channel).block, channel, seen)
        except IgnitionError as error:
            raise blame.on(error, *field) from error
    return Plan(file=file, definition=definition, tenant=tenant, deployment=spec)


async def _require_block(
    client: PrefectClient, name: str, channel: Channel, seen: set[object]
) -> None:
    if (name, channel) not in seen:
        await find_block(client, name, channel)
    seen.add((name, channel))


async def in_chain_order(database: Database, plans: Sequence[Plan]) -> list[Plan]:
    """The plans, parents first, once it is sure that each file's ``after`` can be kept.

    Raises:
        CampaignFileError: a parent is unknown, or campaigns come after each other in a circle.
    """
    async with database.read() as session:
        graph = await check_chains(session, {plan.file: plan.definition for plan in plans})
    by_name = {plan.definition.reference: plan for plan in plans}
    return [by_name[name] for name in in_order(graph, by_name)]


async def _require_absent(database: Database, definition: CampaignDefinition, file: Path) -> None:
    async with database.read() as session:
        known = await store.find(session, definition.reference)
    if known is not None:
        raise Blame(file).on(
            ConfigurationError(
                f"{definition.reference} runs here and is no longer meant to.",
                mend=f"Run: ignition campaign delete {definition.reference}",
            ),
            "environments",
        )


async def carry_out_all(
    database: Database,
    client: PrefectClient,
    plans: Sequence[Plan],
    *,
    actor: str,
    expected: int | None = None,
) -> AsyncIterator[Result]:
    """Carry out one plan after the other; what was done before an error stays done.

    Raises:
        IgnitionError: as :func:`carry_out`.
    """
    for first in range(0, len(plans), AT_ONCE):
        some = plans[first : first + AT_ONCE]
        known = await read_known(client, [planned.deployment.name for planned in some])
        for planned in some:
            yield await carry_out(
                database, client, planned, actor=actor, expected=expected, known=known
            )


async def carry_out(
    database: Database,
    client: PrefectClient,
    planned: Plan,
    *,
    actor: str,
    expected: int | None = None,
    known: Known | None = None,
) -> Result:
    """Do what was planned, wholly or not at all.

    Args:
        database: Ignition's.
        client: of the Prefect server.
        planned: what to do.
        actor: for the audit log.
        expected: the version that this edit began with; None for any.
        known: what Prefect had of it a moment ago.

    Raises:
        ConflictError: someone else applies the same campaign at this moment, or has changed it
            since the version that is expected.
        IgnitionError: Prefect refused; nothing was changed.
    """
    definition, spec = planned.definition, planned.deployment
    async with database.read() as session:
        stored = await store.find(session, definition.reference)
        timetable = await read_timetable(session, definition, planned.tenant, now=utc_now())
    spec = replace(spec, timetable=timetable)
    was: Sequence[DeploymentScheduleCreate] = ()
    if stored is not None and not all(spec.active for spec in stored.definition.schedules):
        before = campaign_deployment(stored.definition, timezone=planned.tenant.timezone)
        was = before.schedules
    ensured: Ensured | None = None
    if stored is not None and stored.digest == store.digest(definition, planned.base_path):
        ensured = await ensure_deployment(client, spec, was=was, known=known)
        if stored.campaign.prefect_deployment_id == ensured.id:
            return _result(planned, stored.version, False, ensured)
    try:
        async with database.write() as session:
            applied = await store.write(
                session,
                definition,
                base_path=planned.base_path,
                actor=actor,
                expected=expected,
            )
            await session.flush()
            await require_no_cycle(session, definition)
            if applied.version > 1:
                known = None  # somebody else may have applied it since Prefect was asked
            async with asyncio.timeout(PREFECT_SECONDS):
                ensured = ensured or await ensure_deployment(client, spec, was=was, known=known)
            await store.set_deployment(session, applied.campaign_id, ensured.id)
    except IntegrityError as error:
        await _put_back(client, ensured, spec)
        raise store.in_between(definition.reference) from error
    except Exception:
        await _put_back(client, ensured, spec)
        raise
    assert planned.tenant.id is not None
    await announce_campaign(database, definition, applied.version, planned.tenant.id)
    return _result(planned, applied.version, applied.changed, ensured)


async def _put_back(client: PrefectClient, ensured: Ensured | None, spec: DeploymentSpec) -> None:
    if ensured is not None:
        await undo(client, ensured, spec)


def _result(planned: Plan, version: int, changed: bool, ensured: Ensured) -> Result:
    return Result(
        campaign=planned.definition.reference,
        file=planned.file,
        version=version,
        changed=changed,
        deployment_id=ensured.id,
        deployment_changed=ensured.changed,
    )


async def delete(database: Database, client: PrefectClient, reference: str, *, actor: str) -> bool:
    """Delete a campaign and its deployment; returns whether Prefect still had the latter.

    The rows are marked first and committed last: if Prefect does not answer, nothing is deleted.

    Raises:
        NotFoundError: there is no such campaign.
        ConflictError: one of its runs is still open, or campaigns come after it.
    """
    async with database.write() as session:
        await require_no_dependents(session, reference)
        await store.mark_deleted(session, reference, actor=actor)
        await session.flush()
        async with asyncio.timeout(PREFECT_SECONDS):
            return await delete_deployment(client, deployment_name(reference))

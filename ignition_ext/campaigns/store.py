"""Campaigns in the database: each change of a file is a new version, audited, never rewritten."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, ConflictError, NotFoundError
from ignition_ext.models import AuditLog, Campaign, CampaignRun, CampaignVersion, Tenant
from ignition_ext.models.types import utc_now
from ignition_ext.tenants import get_tenant
from ignition_ext.values import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying did; ``changed`` is False when the campaign said the same before."""

    campaign_id: int
    version: int
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCampaign:
    """A campaign at the version in force.

    Attributes:
        campaign: its row.
        tenant: whose it is.
        definition: what the file said.
        base_path: the folder that csv and attachments are taken from.
        version: the version in force.
        digest: SHA-256 over definition and folder.
    """

    campaign: Campaign
    tenant: Tenant
    definition: CampaignDefinition
    base_path: Path
    version: int
    digest: str

    @property
    def reference(self) -> str:
        """``tenant/name``, as commands write it."""
        return f"{self.tenant.name}/{self.campaign.name}"


def digest(definition: CampaignDefinition, base_path: Path) -> str:
    """SHA-256 over what the campaign says and where its files are, as canonical JSON."""
    said = {"definition": _document(definition), "base_path": str(base_path)}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def split_reference(reference: str) -> tuple[str, str]:
    """``tenant/name`` in two.

    Raises:
        ConfigurationError: it is not written so.
    """
    tenant, slash, name = reference.partition("/")
    if not (tenant and slash and name) or "/" in name:
        raise ConfigurationError(
            f"{reference!r} does not name a campaign.",
            mend="Write TENANT/NAME, for example acme/newsletter.",
        )
    return tenant, name


async def apply(
    database: Database, definition: CampaignDefinition, *, base_path: Path, actor: str
) -> Applied:
    """Store the definition as the campaign's version in force, unless it is so already.

    Only the database: ``orchestration.apply`` also brings Prefect in step.

    Raises:
        NotFoundError: there is no such tenant.
        ConflictError: someone else applies the same campaign at this moment.
    """
    async with database.read() as session:
        known = await find(session, definition.reference)
    if known is not None and known.digest == digest(definition, base_path):
        assert known.campaign.id is not None
        return Applied(campaign_id=known.campaign.id, version=known.version, changed=False)
    try:
        async with database.write() as session:
            return await write(session, definition, base_path=base_path, actor=actor)
    except IntegrityError as error:
        raise in_between(definition.reference) from error


def in_between(reference: str) -> ConflictError:
    """The error for two that apply one campaign at once."""
    return ConflictError(
        f"the campaign {reference} was changed at the same time by someone else.",
        mend="Look at it with ignition campaign show, then apply again.",
    )


async def write(
    session: AsyncSession,
    definition: CampaignDefinition,
    *,
    base_path: Path,
    actor: str,
    expected: int | None = None,
) -> Applied:
    """The same in the caller's transaction.

    Raises:
        ConflictError: the campaign is at another version than the one that is expected, and what
            it says is not what is to be written.
    """
    tenant = await get_tenant(session, definition.tenant)
    assert tenant.id is not None
    campaign = await _locked(session, tenant.id, definition.name)
    new = campaign is None
    if campaign is None:
        campaign = Campaign(tenant_id=tenant.id, name=definition.name)
        session.add(campaign)
        await session.flush()
    assert campaign.id is not None
    before = None if new else await _version(session, campaign)
    now = digest(definition, base_path)
    if before is not None and before.digest == now and campaign.deleted_at is None:
        return Applied(campaign_id=campaign.id, version=campaign.version, changed=False)
    if expected is not None and expected != campaign.version:
        raise await _stale(session, definition.reference, campaign.version, expected)
    campaign.version += 1
    campaign.updated_at, campaign.deleted_at = utc_now(), None
    session.add(
        CampaignVersion(
            tenant_id=tenant.id,
            campaign_id=campaign.id,
            version=campaign.version,
            digest=now,
            definition=_document(definition),
            base_path=str(base_path),
        )
    )
    await audit.record(
        session,
        tenant_id=tenant.id,
        actor=actor,
        action="campaign.applied",
        subject=f"campaign:{campaign.name}",
        before=None if before is None else {"version": before.version, "digest": before.digest},
        after={
            "version": campaign.version,
            "digest": now,
            "changed": changed_fields(before.definition if before else {}, _document(definition)),
            "template": definition.template,
            "block": definition.block,
        },
    )
    return Applied(campaign_id=campaign.id, version=campaign.version, changed=True)


async def _stale(
    session: AsyncSession, reference: str, version: int, expected: int
) -> ConflictError:
    changes = await history(session, reference, limit=1)
    by = f", changed by {changes[0].actor} at {changes[0].at:%F %T} UTC" if changes else ""
    at = f"is at version {version}{by}" if version else "does not exist yet"
    return ConflictError(
        f"{reference} {at}; the edit began with version {expected}.",
        mend=f"Look at it with ignition campaign show {reference}, and edit that.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changed a campaign, when, and which of its keys."""

    version: int | None
    actor: str
    action: str
    at: datetime
    changed: Sequence[str]


async def history(session: AsyncSession, reference: str, *, limit: int) -> list[Change]:
    """What the audit log has of a campaign, the newest first; also of one that was deleted.

    Raises:
        ConfigurationError: the reference is not written so.
        NotFoundError: there is no such tenant.
    """
    tenant_name, name = split_reference(reference)
    tenant = await get_tenant(session, tenant_name)
    query = (
        select(AuditLog)
        .where(AuditLog.tenant_id == tenant.id, AuditLog.subject == f"campaign:{name}")
        .order_by(col(AuditLog.seq).desc())
        .limit(limit)
    )
    return [
        Change(
            version=(row.after or {}).get("version"),
            actor=row.actor,
            action=row.action,
            at=row.at,
            changed=(row.after or {}).get("changed", ()),
        )
        for row in await session.exec(query)
    ]


async def set_deployment(session: AsyncSession, campaign_id: int, deployment_id: UUID) -> None:
    """Keep the id of the campaign's Prefect deployment, in the caller's transaction."""
    campaign = await session.get_one(Campaign, campaign_id)
    campaign.prefect_deployment_id = deployment_id


async def mark_deleted(session: AsyncSession, reference: str, *, actor: str) -> Campaign:
    """Take a campaign out of force, in the caller's transaction; its runs stay.

    Raises:
        NotFoundError: there is no such campaign.
        ConflictError: one of its runs is still open.
    """
    stored = await load(session, reference)
    campaign = stored.campaign
    assert campaign.id is not None
    open_runs = select(CampaignRun.id).where(
        CampaignRun.campaign_id == campaign.id,
        col(CampaignRun.state).in_([RunState.OPEN, RunState.PAUSED]),
    )
    run = (await session.exec(open_runs.limit(1))).first()
    if run is not None:
        raise ConflictError(
            f"the run {run} of {reference} is still open.",
            mend=f"Wait for it, or run: ignition campaign cancel {run}",
        )
    campaign.deleted_at = campaign.updated_at = utc_now()
    campaign.prefect_deployment_id = None
    await audit.record(
        session,
        tenant_id=campaign.tenant_id,
        actor=actor,
        action="campaign.deleted",
        subject=f"campaign:{campaign.name}",
        before={"version": stored.version, "digest": stored.digest},
    )
    return campaign


async def load(session: AsyncSession, reference: str) -> StoredCampaign:
    """The campaign that ``tenant/name`` names, at the version in force.

    Raises:
        ConfigurationError: the reference is not written so.
        NotFoundError: there is no such tenant or campaign.
    """
    stored = await find(session, reference)
    if stored is None:
        raise NotFoundError(
            f"there is no campaign {reference}.",
            mend="Run: ignition campaign apply FILE (ignition campaign list shows all).",
        )
    return stored


async def find(session: AsyncSession, reference: str) -> StoredCampaign | None:
    """The same, None where the tenant has no such campaign.

    Raises:
        ConfigurationError: the reference is not written so.
        NotFoundError: there is no such tenant.
    """
    tenant_name, name = split_reference(reference)
    tenant = await get_tenant(session, tenant_name)
    query = select(Campaign).where(
        Campaign.tenant_id == tenant.id, Campaign.name == name, col(Campaign.deleted_at).is_(None)
    )
    campaign = (await session.exec(query)).one_or_none()
    version = None if campaign is None else await _version(session, campaign)
    return None if campaign is None or version is None else _stored(campaign, tenant, version)


async def list_campaigns(
    session: AsyncSession, *, tenant: str | None = None
) -> Sequence[StoredCampaign]:
    """All campaigns in force, by tenant and name.

    Raises:
        NotFoundError: there is no such tenant.
    """
    query = (
        select(Campaign, Tenant, CampaignVersion)
        .join(Tenant, col(Tenant.id) == col(Campaign.tenant_id))
        .join(
            CampaignVersion,
            (col(CampaignVersion.campaign_id) == col(Campaign.id))
            & (col(CampaignVersion.version) == col(Campaign.version)),
        )
        .where(col(Campaign.deleted_at).is_(None), col(Tenant.deleted_at).is_(None))
        .order_by(col(Tenant.name), col(Campaign.name))
    )
    if tenant is not None:
        query = query.where(Campaign.tenant_id == (await get_tenant(session, tenant)).id)
    return [_stored(*row) for row in await session.exec(query)]


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The top-level keys that differ: the audit log names them and not what they hold."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _document(definition: CampaignDefinition) -> dict[str, Any]:
    return definition.model_dump(mode="json", by_alias=True)


def _stored(campaign: Campaign, tenant: Tenant, version: CampaignVersion) -> StoredCampaign:
    return StoredCampaign(
        campaign=campaign,
        tenant=tenant,
        definition=CampaignDefinition.model_validate(version.definition),
        base_path=Path(version.base_path),
        version=version.version,
        digest=version.digest,
    )


async def _locked(session: AsyncSession, tenant_id: int, name: str) -> Campaign | None:
    # SQLite holds the write lock already and knows no FOR UPDATE; SQLAlchemy leaves it out there.
    query = select(Campaign).where(Campaign.tenant_id == tenant_id, Campaign.name == name)
    return (await session.exec(query.with_for_update())).one_or_none()


async def _version(session: AsyncSession, campaign: Campaign) -> CampaignVersion | None:
    query = select(CampaignVersion).where(
        CampaignVersion.campaign_id == campaign.id, CampaignVersion.version == campaign.version
    )
    return (await session.exec(query)).one_or_none()

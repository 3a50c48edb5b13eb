"""Stored audiences: which there are, and their rows' generations."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.errors import AudienceError, NotFoundError
from ignition_ext.models import Audience

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""As tenants and campaigns are named."""


def checked_audience_name(name: str) -> str:
    """The name, if it is a slug.

    Raises:
        AudienceError: it is not.
    """
    if not NAME.fullmatch(name):
        raise AudienceError(
            f"{name!r} cannot be an audience's name.",
            mend="Use up to 63 small letters, digits and hyphens, a letter or digit first.",
        )
    return name


async def get_audience(
    session: AsyncSession, tenant_id: int, name: str, *, tenant: str
) -> Audience:
    """The stored audience of that name, with an import in force.

    Raises:
        NotFoundError: there is none.
    """
    query = select(Audience).where(
        Audience.tenant_id == tenant_id,
        Audience.name == name,
        Audience.generation > 0,
        col(Audience.deleted_at).is_(None),
    )
    audience = (await session.exec(query)).one_or_none()
    if audience is None:
        raise NotFoundError(
            f"tenant {tenant!r} has no audience {name!r}.",
            mend=f"Run: ignition audience import FILE.csv --tenant {tenant} --name {name}",
        )
    return audience


async def list_audiences(session: AsyncSession, tenant_id: int) -> Sequence[Audience]:
    """The tenant's audiences with an import in force, by name."""
    query = (
        select(Audience)
        .where(
            Audience.tenant_id == tenant_id,
            Audience.generation > 0,
            col(Audience.deleted_at).is_(None),
        )
        .order_by(col(Audience.name))
    )
    return (await session.exec(query)).all()

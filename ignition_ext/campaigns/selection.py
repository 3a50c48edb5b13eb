"""Which campaigns an operation is for: one by its name, or many by a pattern, tenant or tag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns import store
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.errors import NotFoundError

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """All that is given has to hold.

    Attributes:
        pattern: ``tenant/name``, where ``*``, ``?`` and ``[…]`` stand for letters as in a shell.
        tag: one that the campaign's runs bear; Ignition's own too, such as ``channel:sms``.
    """

    pattern: str | None = None
    tenant: str | None = None
    tag: str | None = None

    @property
    def is_bulk(self) -> bool:
        """Whether it may mean several, and is carried out and told one by one."""
        wild = self.pattern is not None and bool(_WILD & set(self.pattern))
        return wild or self.tenant is not None or self.tag is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given: nobody means every campaign by saying nothing."""
        return self.pattern is None and self.tenant is None and self.tag is None

    def holds(self, campaign: StoredCampaign) -> bool:
        """Whether a campaign is meant."""
        return (
            (self.pattern is None or fnmatchcase(campaign.reference, self.pattern))
            and (self.tenant is None or campaign.tenant.name == self.tenant)
            and (self.tag is None or self.tag in campaign.definition.all_tags)
        )

    def __str__(self) -> str:
        given = (self.pattern, self.tenant and f"tenant {self.tenant}", self.tag)
        return ", ".join(filter(None, given))


async def select_campaigns(session: AsyncSession, selection: Selection) -> Sequence[StoredCampaign]:
    """The campaigns in force that are meant, by tenant and name.

    Raises:
        NotFoundError: there is none.
    """
    if not selection.is_bulk and selection.pattern is not None:
        return [await store.load(session, selection.pattern)]
    every = await store.list_campaigns(session, tenant=selection.tenant)
    found = [campaign for campaign in every if selection.holds(campaign)]
    if not found:
        raise NotFoundError(
            f"no campaign fits {selection}.",
            mend="Run: ignition campaign list (put a pattern into quotes).",
        )
    return found

"""What a tenant has set about texts that come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.models import Tenant
from ignition_ext.returns.keywords import Keyword
from ignition_ext.returns.reply_texts import DEFAULT_LANGUAGE, default_text
from ignition_ext.tenants import tenant_settings

REPLIES = "sms.replies"
"""``true`` to answer keywords; off unless set, because an answer costs and many carriers send
their own."""
WORDS = {keyword: f"sms.{keyword.value}_words" for keyword in Keyword}
"""A tenant's own keywords: a list, or words separated by commas."""
TEXT_PREFIX = {keyword: f"sms.{keyword.value}_text" for keyword in Keyword}
"""``sms.stop_text`` or, for one language, ``sms.stop_text.de``; ``false`` sends none."""
_LONGEST_REPLY = 600
"""Characters of an answer: four parts. It is paid for, and nobody reads more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsSettings:
    """A tenant's settings.

    Attributes:
        title: the tenant's name for people.
        language: of the tenant, for words that many languages have.
        region: that telephone numbers without ``+`` are read in.
    """

    title: str
    language: str
    region: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> Mapping[Keyword, Sequence[str]]:
        """The tenant's own keywords."""
        return {keyword: _listed(self.values.get(WORDS[keyword])) for keyword in Keyword}

    def reply(self, keyword: Keyword, language: str) -> str:
        """The text that answers a keyword; empty for none."""
        if self.values.get(REPLIES) is not True:
            return ""
        prefix = TEXT_PREFIX[keyword]
        own = self.values.get(f"{prefix}.{language}", self.values.get(prefix))
        if own is False:
            return ""
        text = own if isinstance(own, str) and own.strip() else None
        return (text or default_text(keyword, language, self.title)).strip()[:_LONGEST_REPLY]


async def read_sms_settings(session: AsyncSession, tenant_id: int) -> SmsSettings:
    """The settings of a tenant."""
    tenant = await session.get(Tenant, tenant_id)
    assert tenant is not None
    return SmsSettings(
        title=tenant.title,
        language=tenant.locale.replace("_", "-").partition("-")[0].lower() or DEFAULT_LANGUAGE,
        region=tenant.region,
        values=await tenant_settings(session, tenant_id),
    )


def _listed(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [word for word in value.split(",") if word.strip()]
    if isinstance(value, list):
        return [word for word in value if isinstance(word, str)]
    return []

"""Addresses in the one spelling that audiences give them, so that lists and messages meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.audience.emails import EmailProblem, normalise_email
from ignition_ext.audience.phones import PhoneProblem, normalise_phone
from ignition_ext.errors import AudienceError
from ignition_ext.models import Tenant
from ignition_ext.values import Channel


def normalise(channel: Channel, address: str, region: str | None) -> str:
    """The one spelling of an address.

    Args:
        channel: what kind of address it is.
        address: as someone wrote it.
        region: ISO 3166 code that national telephone numbers are read in.

    Raises:
        AudienceError: nothing can be sent there.
    """
    try:
        match channel:
            case Channel.EMAIL:
                return normalise_email(address)
            case Channel.SMS:
                return normalise_phone(address, region)
            case other:
                assert_never(other)
    except (EmailProblem, PhoneProblem) as error:
        raise AudienceError(
            f"{address!r} cannot be written to by {channel.value}: {error}.",
            mend="Give an email address, or a telephone number with + and its country code.",
        ) from error


def channel_of(address: str) -> Channel:
    """The channel that a text is an address of: whatever has an @-sign is for email."""
    return Channel.EMAIL if "@" in address else Channel.SMS


async def normalised(
    session: AsyncSession, tenant_id: int, channel: Channel, addresses: Sequence[str]
) -> list[str]:
    """The addresses as audiences write them, each once, in order.

    What nothing can be sent to is left out: no message can bear it.
    """
    region = None
    if channel is Channel.SMS:
        tenant = await session.get(Tenant, tenant_id)
        region = None if tenant is None else tenant.region
    found: dict[str, None] = {}
    for address in addresses:
        try:
            found[normalise(channel, address, region)] = None
        except AudienceError:
            continue
    return list(found)

"""Who is turned away at a claim besides the suppression list: by topic, cap, or as forgotten.

All is asked in the claim's transaction, as near to the wire as one question for many can be, and
only where the tenant has anything of the kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import UUID

from ignition_ext.caps import Cap, read_caps
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.ledger.work import Work
from ignition_ext.values import Channel, LeaseId, RunRef

FORGOTTEN = "forgotten:"
"""How the address of a message begins whose recipient was forgotten: it may wait once more, where
it had failed and is redriven, or a late word makes it sendable again."""
NOTE = "the recipient was forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run has to heed at each claim.

    Attributes:
        caps: the tenant's, by channel; none in a run that ignores them.
        topic: what the campaign is about; None where it says nothing.
        key: that the tenant's forgotten addresses are hashed with; None where there are none.
    """

    caps: Mapping[Channel, Sequence[Cap]]
    topic: str | None
    key: str | None


def digest(key: str, address: str) -> str:
    """What stands for a forgotten address: BLAKE2b, keyed, hexadecimal.

    Args:
        key: the tenant's, hexadecimal.
        address: in the spelling of audiences.
    """
    return blake2b(address.encode(), key=bytes.fromhex(key), digest_size=32).hexdigest()


async def read_terms(work: Work, run: RunRef) -> Terms:
    """What the tenant set, its recipients chose, and the campaign says of itself."""
    ((email, sms, ignores_caps, topic, key),) = await work.fetch("read_terms", run_id=run.id)
    given = {} if ignores_caps else {Channel.EMAIL: email, Channel.SMS: sms}
    caps = {
        channel: read_caps(f"caps.{channel}", json.loads(text))
        for channel, text in given.items()
        if text is not None
    }
    return Terms(caps=caps, topic=topic, key=key)


async def admit(
    work: Work,
    run: RunRef,
    lease_id: LeaseId,
    claimed: Sequence[ClaimedMessage],
    terms: Terms,
) -> list[ClaimedMessage]:
    """Those of a claim that may be sent; the others become suppressed, with the reason."""
    reasons: dict[UUID, str] = {}
    for channel in Channel:
        mine = [message for message in claimed if message.channel is channel]
        if mine:
            reasons |= await _turned_away(work, run, channel, mine, terms)
    if reasons:
        # The drivers differ in what they take: two lists, or one of pairs.
        words = {
            **_columns(list(reasons.values()), list(reasons), name="reasons"),
            "run_at": run.run_at,
            "lease_id": lease_id,
        }
        await work.fetch("note_turned_away", **words)
        await work.fetch("turn_away", **words)
    return [message for message in claimed if message.id not in reasons]


async def _turned_away(
    work: Work,
    run: RunRef,
    channel: Channel,
    claimed: Sequence[ClaimedMessage],
    terms: Terms,
) -> dict[UUID, str]:
    by_address = {message.address: message.id for message in claimed}
    scope = {"tenant_id": run.tenant_id, "channel": channel.value}
    reasons: dict[UUID, str] = {}
    if terms.key is not None:
        for address in [one for one in by_address if one.startswith(FORGOTTEN)]:
            reasons[by_address.pop(address)] = NOTE
        digests = {digest(terms.key, address): address for address in by_address}
        for found, reason in await work.fetch("find_forgotten", digests=list(digests), **scope):
            reasons[by_address.pop(digests[found])] = f"on the suppression list: {reason}"
    if terms.topic is not None and by_address:
        unwanted = await work.fetch(
            "find_unwanted", addresses=list(by_address), topic=terms.topic, **scope
        )
        for (address,) in unwanted:
            reasons[by_address.pop(address)] = f"does not want the topic {terms.topic}"
    if (caps := terms.caps.get(channel)) and by_address:
        reasons |= await _over_caps(work, run, by_address, caps, scope)
    return reasons


async def _over_caps(
    work: Work,
    run: RunRef,
    by_address: Mapping[str, UUID],
    caps: Sequence[Cap],
    scope: Mapping[str, Any],
) -> dict[UUID, str]:
    """Those over a cap; the others are noted, and count from now on."""
    await work.fetch("lock_caps", **scope)
    columns = _columns(list(by_address), list(by_address.values()), name="addresses")
    reasons: dict[UUID, str] = {}
    for cap in caps:
        bound = {"messages": cap.messages, "days": cap.days}
        for (key,) in await work.fetch("find_capped", **columns, **bound, **scope):
            reasons[work.uuid(key)] = f"over the frequency cap: {cap}"
    await work.fetch("prune_capped", days=max(cap.days for cap in caps), **columns, **scope)
    admitted = {address: key for address, key in by_address.items() if key not in reasons}
    if admitted:
        columns = _columns(list(admitted), list(admitted.values()), name="addresses")
        await work.fetch("add_capped", run_at=run.run_at, **columns, **scope)
    return reasons


def _columns(texts: Sequence[str], ids: Sequence[UUID], *, name: str) -> dict[str, Any]:
    """Texts with the messages that they are of: as two columns, and as a list of pairs."""
    pairs = [[text, key] for text, key in zip(texts, ids, strict=True)]
    return {name: texts, "ids": ids, "pairs": pairs}

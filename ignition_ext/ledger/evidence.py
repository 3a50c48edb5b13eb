"""What is learnt of a message after its attempt, by a mail that came back: pure, but for the door.

Evidence counts once. What is over stays as it is; what is still on its way to the wire is not
touched, because its own result decides: who brings the evidence brings it again later.

============  ======  ===========  =========  =======================  ========
state         sent    delivered    bounced    complained               failed
============  ======  ===========  =========  =======================  ========
sent          --      delivered    bounced    complained               failed
delivered     --      --           bounced    complained               --
uncertain     sent    delivered    bounced    sent, then complained    failed
open [1]_     early   early        early      early                    early
any other     --      --           --         --                       --
============  ======  ===========  =========  =======================  ========

.. [1] pending, claimed, sending, deferred: the server's answer is not stored yet, or a copy of
   which nothing is known has come back while the message waits to be sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ignition_ext.ledger.contract import Effect, Evidence
from ignition_ext.ledger.rows import Change, Held
from ignition_ext.ledger.work import Work
from ignition_ext.values import OPEN_STATES, MessageId, MessageState

_S = MessageState
_STEPS: Mapping[MessageState, Mapping[MessageState, tuple[MessageState, ...]]] = {
    _S.SENT: {
        _S.DELIVERED: (_S.DELIVERED,),
        _S.BOUNCED: (_S.BOUNCED,),
        _S.COMPLAINED: (_S.COMPLAINED,),
        _S.FAILED: (_S.FAILED,),
    },
    _S.DELIVERED: {_S.BOUNCED: (_S.BOUNCED,), _S.COMPLAINED: (_S.COMPLAINED,)},
    _S.UNCERTAIN: {
        _S.SENT: (_S.SENT,),
        _S.DELIVERED: (_S.DELIVERED,),
        _S.BOUNCED: (_S.BOUNCED,),
        _S.COMPLAINED: (_S.SENT, _S.COMPLAINED),
        _S.FAILED: (_S.FAILED,),
    },
}


def effect_of(held: Held, evidence: Evidence) -> tuple[Effect, Change | None]:
    """What a piece of evidence makes of a message."""
    steps = _STEPS.get(held.state, {}).get(evidence.state)
    if steps is not None:
        change = Change(
            held=held,
            steps=steps,
            attempts=held.attempts + int(held.state is _S.UNCERTAIN),
            outcome=evidence.outcome,
        )
        return Effect.CHANGED, change
    return (Effect.EARLY if held.state in OPEN_STATES else Effect.KNOWN), None


def portions(told: Sequence[Evidence], most: int) -> Iterator[Sequence[Evidence]]:
    """The evidence in its order, in portions in which no message stands twice."""
    portion: dict[MessageId, Evidence] = {}
    for evidence in told:
        if evidence.message_id in portion or len(portion) == most:
            yield list(portion.values())
            portion = {}
        portion[evidence.message_id] = evidence
    if portion:
        yield list(portion.values())


async def show(work: Work, told: Sequence[Evidence]) -> dict[MessageId, Effect]:
    """Carry out evidence, at most one piece for each message."""
    by_id = {evidence.message_id: evidence for evidence in told}
    effects = dict.fromkeys(by_id, Effect.MISSING)
    changes: list[Change] = []
    for row in await work.lock("lock_ids", ids=sorted(by_id)):
        key = MessageId(row.id)
        effects[key], change = effect_of(row, by_id[key])
        if change is not None:
            changes.append(change)
    await work.apply(changes)
    return effects

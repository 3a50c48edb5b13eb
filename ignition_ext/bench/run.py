"""Carries a benchmark out: rounds of one run each, the peers beside it, the counts compared."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ignition_ext.bench.accounting import require_all_sent, require_same
from ignition_ext.bench.child import ask
from ignition_ext.bench.ledger_load import TURN
from ignition_ext.bench.options import Address, BenchOptions, LedgerOptions, Say
from ignition_ext.bench.peers import NAMES, Rates, job_for, peer_rates, sink_rate
from ignition_ext.bench.report import Document, summary
from ignition_ext.bench.sinks import Sink, open_sink
from ignition_ext.bench.stage import Stage, open_stage
from ignition_ext.ledger import open_ledger
from ignition_ext.values import Channel

T = TypeVar("T")
_NOWHERE = Address(host="", port=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one run came to, by the ledger and by the far side."""

    figures: Mapping[str, Any]
    far_side: int | None
    segments: int


async def bench_channel(options: BenchOptions, say: Say) -> Document:
    """Measure a channel the whole way, with its peers beside it.

    Raises:
        IgnitionError: a message is missing in the ledger or on the far side.
    """
    rounds = []
    for number in range(1, options.repeat + 1):
        say(f"round {number} of {options.repeat}")
        rounds.append(await _round(options, say))
    last = rounds[-1]
    keys = ["snapshot_rate", "sink_rate", "far_side"]
    shared = {
        "channel": options.channel.value,
        "database": last["database"],
        "durable": last["durable"],
        "sink": last["sink"],
        **_lanes(options),
    }
    if options.channel is Channel.SMS:
        shared["segments"] = round(last["segments"] / options.messages, 3)
    return summary(rounds, keys, shared)


def _lanes(options: BenchOptions) -> Document:
    match options.channel:
        case Channel.EMAIL:
            return {"connections": options.connections, "security": options.security}
        case Channel.SMS:
            return {
                "window": options.window,
                "binds": options.binds,
                "delay_ms": options.delay_ms,
            }


async def _round(options: BenchOptions, say: Say) -> Document:
    if options.null:
        async with open_stage(options.database, options.channel, options.messages, say) as stage:
            sent = await _send(options, stage, None, say)
        nobody: Rates = dict.fromkeys(NAMES[options.channel])
        return _document(options, stage, sent, sink="null") | {"peers": nobody, "sink_rate": None}
    async with open_sink(options) as sink:
        async with open_stage(options.database, options.channel, options.messages, say) as stage:
            sent = await _send(options, stage, sink, say)
        peers = await peer_rates(options, sink.address, say)
        return _document(options, stage, sent, sink=sink.name) | {
            "peers": peers,
            "sink_rate": await sink_rate(options, sink.address, say),
        }


def _document(options: BenchOptions, stage: Stage, sent: Sent, *, sink: str) -> Document:
    return {
        **sent.figures,
        "messages": options.messages,
        "far_side": sent.far_side,
        "segments": sent.segments,
        "snapshot_rate": stage.snapshot_rate,
        "database": stage.database.dialect,
        "durable": stage.durable,
        "sink": sink,
    }


async def _send(options: BenchOptions, stage: Stage, sink: Sink | None, say: Say) -> Sent:
    """Let the sender drain the run, and compare what the ledger and the far side say."""
    before = None if sink is None else await sink.count()
    say(f"sending {options.messages} messages …")
    job = job_for(options, _NOWHERE if sink is None else sink.address) | {
        **_run_of(stage),
        "batch": options.batch,
    }
    figures = await ask("sender", job)
    counts = await open_ledger(stage.database).counts(stage.run)
    require_all_sent(counts, options.messages)
    segments = await stage.segments() if options.channel is Channel.SMS else options.messages
    after = None if sink is None else await sink.count()
    far_side = None if before is None or after is None else after - before
    if far_side is not None:
        require_same(far_side, segments)
    return Sent(figures=figures, far_side=far_side, segments=segments)


def _run_of(stage: Stage) -> Document:
    return {
        "database": stage.url,
        "tenant": stage.tenant,
        "run_id": str(stage.run.id),
        "run_at": stage.run.run_at.isoformat(),
        "tenant_id": stage.run.tenant_id,
    }


async def bench_ledger(options: LedgerOptions, say: Say) -> Document:
    """Measure the ledger by itself.

    Raises:
        IgnitionError: a message is missing at the end.
    """
    rounds = []
    for number in range(1, options.repeat + 1):
        say(f"round {number} of {options.repeat}")
        rounds.append(await _ledger_round(options, say))
    last = rounds[-1]
    steps = ["snapshot_rate", "claim_rate", "intend_rate", "settle_rate"]
    keys = [*steps, "turn_p50_ms", "turn_p99_ms"]
    shared = {"database": last["database"], "durable": last["durable"], "batch": options.batch}
    return summary(rounds, keys, shared)


async def _ledger_round(options: LedgerOptions, say: Say) -> Document:
    total = options.messages + (options.turns + 1) * TURN
    async with open_stage(options.database, Channel.EMAIL, total, say) as stage:
        say(f"claiming, intending and settling {total} messages …")
        job = {**asdict(options), **_run_of(stage)}
        figures = await ask("ledger_load", job)
        require_all_sent(await open_ledger(stage.database).counts(stage.run), total)
        return {
            **figures,
            "messages": options.messages,
            "snapshot_rate": stage.snapshot_rate,
            "database": stage.database.dialect,
            "durable": stage.durable,
            "peers": {},
        }


async def until_told_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Await the work; SIGTERM ends it like Ctrl-C, so that what was made is taken away again."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # no signals on this platform's loop
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGTERM)

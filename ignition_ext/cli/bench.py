"""``ignition bench``: how fast it sends, beside others in the same run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from ignition_ext.bench.options import (
    BenchOptions,
    LedgerOptions,
    Security,
    parse_target,
)
from ignition_ext.bench.people import MOST
from ignition_ext.bench.report import COLUMNS, SHOWN, Document, table
from ignition_ext.bench.run import bench_channel, bench_ledger, until_told_to_end
from ignition_ext.bench.start import StartOptions, bench_start, start_table
from ignition_ext.cli.output import note, out, print_json, print_table
from ignition_ext.errors import ConfigurationError
from ignition_ext.values import Channel

app = App(name="bench", help="Benchmarks: the whole way, with peers beside it in the same run.")

Messages = Annotated[int, Parameter(validator=Number(gte=1, lte=MOST))]
Rounds = Annotated[int, Parameter(validator=Number(gte=1, lte=100))]
Lanes = Annotated[int, Parameter(validator=Number(gte=1, lte=1000))]
Batch = Annotated[int | None, Parameter(validator=Number(gte=1, lte=100_000))]
Seconds = Annotated[float, Parameter(validator=Number(gt=0, lte=600))]
Flag = Annotated[bool, Parameter(negative="")]


@app.command
async def email(
    *,
    messages: Messages = 20_000,
    target: str | None = None,
    database: str | None = None,
    connections: Lanes = 10,
    security: Security = "none",
    null: Flag = False,
    batch: Batch = None,
    repeat: Rounds = 1,
    no_peers: Flag = False,
    peer_seconds: Seconds = 3.0,
    json: Flag = False,
) -> None:
    """Send an email campaign the whole way: claim, render, MIME, SMTP, settle.

    Peers: prefect-email, smtplib, aiosmtplib and smtp-source, against the same server. Without
    --target a sink is started: smtp-sink where it is installed, else one of our own. What the
    ledger says is compared with what the sink took; a difference is an error.

    Args:
        messages: Recipients of the run.
        target: HOST:PORT of an SMTP server that takes every message; it gets the peers' too.
        database: sqlite:///PATH or postgresql://…; what is put in is deleted again. Without it
            a temporary SQLite file.
        connections: SMTP connections side by side.
        security: Encryption of the connections; certificates are not checked.
        null: Send to no server at all; everything else as always.
        batch: Messages of one task; without it a campaign's default.
        repeat: Rounds; the figures are medians.
        no_peers: Leave the peers and the sink's own rate out.
        peer_seconds: About how long each peer sends in a round.
        json: Print one JSON document.
    """
    options = BenchOptions(
        channel=Channel.EMAIL,
        messages=messages,
        target=None if target is None else parse_target(target),
        database=database,
        connections=connections,
        security=security,
        null=null,
        batch=batch,
        repeat=repeat,
        peer_seconds=0 if no_peers else peer_seconds,
    )
    await _channel(options, json=json)


@app.command
async def sms(
    *,
    messages: Messages = 20_000,
    target: str | None = None,
    database: str | None = None,
    window: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 50,
    binds: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 1,
    delay_ms: Annotated[float, Parameter(validator=Number(gte=0, lte=60_000))] = 0,
    system_id: str = "bench",
    password: str = "",
    null: Flag = False,
    batch: Batch = None,
    repeat: Rounds = 1,
    no_peers: Flag = False,
    peer_seconds: Seconds = 3.0,
    json: Flag = False,
) -> None:
    """Send an SMS campaign the whole way: claim, render, segments, SMPP, settle.

    Peers: smpplib with one message on the way, and with 50. Without --target an SMSC sink is
    started. What the ledger says is compared with what the sink took; a difference is an error.

    Args:
        messages: Recipients of the run; each message is one segment.
        target: HOST:PORT of an SMSC that takes every message; it gets the peers' too.
        database: sqlite:///PATH or postgresql://…; what is put in is deleted again. Without it
            a temporary SQLite file.
        window: Unanswered submit_sm a bind.
        binds: SMPP sessions side by side.
        delay_ms: How late the sink that is started answers.
        system_id: Login at the target.
        password: Its password.
        null: Send to no server at all; everything else as always.
        batch: Messages of one task; without it a campaign's default.
        repeat: Rounds; the figures are medians.
        no_peers: Leave the peers and the sink's own rate out.
        peer_seconds: About how long each peer sends in a round.
        json: Print one JSON document.
    """
    options = BenchOptions(
        channel=Channel.SMS,
        messages=messages,
        target=None if target is None else parse_target(target),
        database=database,
        window=window,
        binds=binds,
        delay_ms=delay_ms,
        system_id=system_id,
        password=password,
        null=null,
        batch=batch,
        repeat=repeat,
        peer_seconds=0 if no_peers else peer_seconds,
    )
    await _channel(options, json=json)


@app.command
async def ledger(
    *,
    messages: Messages = 50_000,
    target: str | None = None,
    database: str | None = None,
    batch: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 1000,
    turns: Annotated[int, Parameter(validator=Number(gte=2, lte=100_000))] = 200,
    repeat: Rounds = 1,
    json: Flag = False,
) -> None:
    """Measure the ledger by itself: claim, intend and settle, with nothing sent between.

    Args:
        messages: How many are claimed and settled.
        target: Refused: nothing is sent here.
        database: sqlite:///PATH or postgresql://…; what is put in is deleted again. Without it
            a temporary SQLite file.
        batch: Messages of one claim, intend and settle.
        turns: Small groups of ten that are settled while ten others are intended.
        repeat: Rounds; the figures are medians.
        json: Print one JSON document.
    """
    if target is not None:
        raise ConfigurationError(
            "the ledger's benchmark sends nothing.", mend="Leave --target out."
        )
    options = LedgerOptions(
        messages=messages, database=database, batch=batch, turns=turns, repeat=repeat
    )
    _show(await until_told_to_end(bench_ledger(options, note)), json=json)


@app.command
async def start(
    *,
    schedules: Annotated[int, Parameter(validator=Number(gte=0, lte=10_000))] = 1000,
    runs: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 40,
    scheduled: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 24,
    query_seconds: Annotated[float, Parameter(validator=Number(gt=0, lte=60))] = 0.5,
    database: str | None = None,
    no_peers: Flag = False,
    json: Flag = False,
) -> None:
    """Measure how soon a flow run reaches its first line, and how punctual campaigns are.

    The warm worker and Prefect's process worker, one after the other, look as often as each
    other, on one Prefect server on PostgreSQL with schedules deployed. Seconds.

    Args:
        schedules: Deployments with a schedule that are there besides.
        runs: Runs that are created to begin at once, one after the other, for each worker.
        scheduled: Runs of campaigns that are due at a time, for each worker.
        query_seconds: Between two looks of a worker for runs that are due.
        database: postgresql://… of a server on which a database may be made, and is dropped
            again. Without it a temporary server.
        no_peers: Leave Prefect's process worker out.
        json: Print one JSON document.
    """
    options = StartOptions(
        schedules=schedules,
        runs=runs,
        scheduled=scheduled,
        query_seconds=query_seconds,
        database=database,
        peers=not no_peers,
    )
    document = await until_told_to_end(bench_start(options, note))
    if json:
        print_json(document)
        return
    print_table(start_table(document))


async def _channel(options: BenchOptions, *, json: bool) -> None:
    _show(await until_told_to_end(bench_channel(options, note)), json=json)


def _show(document: Document, *, json: bool) -> None:
    if json:
        print_json(document)
        return
    print_table(table(document), *COLUMNS)
    for key, value in document.items():
        if key not in SHOWN and value is not None:
            out.print(f"{key:14} {value}", markup=False)

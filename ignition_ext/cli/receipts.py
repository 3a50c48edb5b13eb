"""``ignition receipts``: receipts and texts from handsets, outside the runs that they belong to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, cast

from cyclopts import App, Parameter
from cyclopts.validators import Number

from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.cli.context import open_database
from ignition_ext.cli.output import err, note, print_json, print_table
from ignition_ext.cli.since import since_of
from ignition_ext.database import Database
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger import open_ledger
from ignition_ext.models import InboundMessage, Receipt
from ignition_ext.orchestration.blocks import channel_class, load_block
from ignition_ext.returns.sms_inbox import list_texts
from ignition_ext.returns.sms_listening import Listening, listen, slot_times
from ignition_ext.returns.sms_receipts import unmatched_receipts
from ignition_ext.settings import Settings
from ignition_ext.tenants import get_tenant
from ignition_ext.values import Channel

app = App(name="receipts", help="Delivery receipts and texts from handsets, outside runs.")
Json = Annotated[bool, Parameter(negative="")]
Limit = Annotated[int, Parameter(validator=Number(gte=1))]
_RECEIPT_COLUMNS = ("received_at", "bind", "provider_id", "address", "status", "code")
_TEXT_COLUMNS = ("received_at", "source", "destination", "text", "keyword", "action")


class _Gateway(Protocol):
    """What is needed of a block."""

    def options(self, *, drain_seconds: float) -> SmppOptions:
        """Its fields."""
        ...


@app.command(name="listen")
async def listen_(
    *,
    block: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)],
    tenant: str | None = None,
) -> int:
    """Stay bound to SMSC accounts, and store receipts and texts from handsets as they come.

    A service: links that are lost are made anew for ever. One bind an account, which counts among
    the block's binds; while others have them all, or another listens, it waits and says so. What
    cannot be stored stays with the SMSC. SIGTERM or Ctrl-C: what came is stored and answered,
    then it unbinds.

    Args:
        block: SMPP gateway blocks; several may be given.
        tenant: Whose the texts are that come to these accounts; without it, the tenants decide
            that send by them.
    """
    settings = Settings()
    accounts = await _accounts(block, settings)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_database(settings) as database:
        tenant_id = await _tenant_id(database, tenant)
        how = Listening(tenant_id=tenant_id, times=slot_times(settings))
        done = await asyncio.gather(
            *(_serve(database, options, how, stop) for options in accounts.values())
        )
    return 0 if all(done) else 1


@app.command
async def unmatched(
    *, bind: str | None = None, since: str | None = None, limit: Limit = 1000, json: Json = False
) -> None:
    """List receipts that match no message yet, the newest first.

    They are matched when their message's response comes, for three days; later ones are of
    messages that Ignition did not send, or of a block whose receipt id format is wrong.

    Args:
        bind: Only those of this account, as host:port/system_id.
        since: Not older than this: a duration such as 2h, or a time such as 2026-11-21T08:00Z.
        limit: At most so many.
        json: One JSON list on stdout.
    """
    async with open_database() as database, database.read() as session:
        rows = await unmatched_receipts(session, bind=bind, since=since_of(since), limit=limit)
    _print([_receipt(row) for row in rows], _RECEIPT_COLUMNS, json=json)


@app.command
async def match(*, block: str, json: Json = False) -> None:
    """Look again for the messages of receipts that match none, by the block's present format.

    Only those of the last three days. A listener does it by itself when it begins and each hour.

    Args:
        block: The SMPP gateway block of the account.
        json: One JSON document on stdout.
    """
    settings = Settings()
    (options,) = (await _accounts((block,), settings)).values()
    async with open_database(settings) as database:
        found = await open_ledger(database).match_waiting(
            options.bind_name, id_format=options.receipt_id_format.value
        )
    if json:
        print_json({"bind": options.bind_name, "matched": found})
    else:
        note(f"{found} receipts of {options.bind_name} found their message.")


@app.command
async def texts(
    *, tenant: str | None = None, since: str | None = None, limit: Limit = 1000, json: Json = False
) -> None:
    """List texts that came from handsets and what was done about them, the newest first.

    Args:
        tenant: Only this tenant's.
        since: Not older than this: a duration such as 2h, or a time such as 2026-11-21T08:00Z.
        limit: At most so many.
        json: One JSON list on stdout.
    """
    async with open_database() as database:
        tenant_id = await _tenant_id(database, tenant)
        async with database.read() as session:
            rows = await list_texts(
                session, tenant_id=tenant_id, since=since_of(since), limit=limit
            )
    _print([_text(row) for row in rows], _TEXT_COLUMNS, json=json)


async def _accounts(names: Sequence[str], settings: Settings) -> dict[str, SmppOptions]:
    """The accounts of the blocks, each once."""
    kind, found = channel_class(Channel.SMS), dict[str, SmppOptions]()
    for name in names:
        block = cast("_Gateway", await load_block(kind, name, Channel.SMS))
        options = block.options(drain_seconds=settings.drain_seconds)
        found.setdefault(options.bind_name, options)
    return found


async def _tenant_id(database: Database, name: str | None) -> int | None:
    if name is None:
        return None
    async with database.read() as session:
        return (await get_tenant(session, name)).id


async def _serve(
    database: Database, options: SmppOptions, how: Listening, stop: asyncio.Event
) -> bool:
    """Listen at one account; False when it refuses us for good, and the others go on."""

    def tell(words: str) -> None:
        note(f"{options.bind_name}: {words}")

    try:
        heard = await listen(database, options, how, stop=stop, tell=tell)
    except IgnitionError as error:
        err.print(f"Error: {error}", markup=False, soft_wrap=True)
        return False
    note(
        f"{options.bind_name}: stored {heard.receipts} receipts and {heard.texts} texts,"
        f" left {heard.refused} with the SMSC."
    )
    return True


def _receipt(row: Receipt) -> dict[str, Any]:
    return row.model_dump(include={"id", *_RECEIPT_COLUMNS, "state", "id_format", "raw"})


def _text(row: InboundMessage) -> dict[str, Any]:
    return row.model_dump(exclude={"digest"})


def _print(rows: list[dict[str, Any]], columns: tuple[str, ...], *, json: bool) -> None:
    if json:
        print_json(rows)
    else:
        print_table(rows, *columns)

"""The flow ``receipts``: hears what an SMSC has kept since the last run ended."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ignition_ext.errors import IgnitionError
from tasks.listen_receipts import listen_receipts
from tasks.show_ending import Ending, EndingKind, show_ending


@flow(name="receipts", persist_result=False)
async def receipts(
    block: str,
    tenant: str | None = None,
    listen_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300,
    quiet_seconds: Annotated[float | None, Field(gt=0)] = 20,
) -> State[Any]:
    """Store the receipts and texts that an SMSC has for us; give it a schedule.

    One at a time listens at an account: a second run, or one beside `ignition receipts listen`,
    ends as Skipped and says who does it.

    Args:
        block: The SMPP gateway block.
        tenant: Whose the texts from handsets are; by default the tenants decide that send by it.
        listen_seconds: How long at most, in seconds.
        quiet_seconds: End when nothing came for so many seconds; empty to stay to the end.
    """
    try:
        heard = await listen_receipts(block, tenant, listen_seconds, quiet_seconds)
    except IgnitionError as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return show_ending(Ending(kind=EndingKind.FAILED, message=message))
    if heard.left_to:
        return show_ending(Ending(kind=EndingKind.SKIPPED, message=heard.left_to))
    if heard.trouble:
        return show_ending(Ending(kind=EndingKind.FAILED, message=heard.trouble))
    message = f"{heard.receipts} receipts, {heard.texts} texts stored; {heard.refused} left there"
    return show_ending(Ending(kind=EndingKind.COMPLETED, message=message))

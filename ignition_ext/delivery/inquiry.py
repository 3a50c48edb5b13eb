"""Asks a campaign's server whether it would take messages, without sending one."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta

from ignition_ext.budgets.bind import BindSlots, SlotTimes
from ignition_ext.budgets.circuits import Circuits, Door
from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.channels.smpp import SmppOptions, SmppTransport, SmscOffer
from ignition_ext.channels.smtp import ServerOffer, SmtpOptions, SmtpTransport
from ignition_ext.database import Database
from ignition_ext.delivery.guard import Guard
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.errors import ChannelError, MustWait

BIND_PATIENCE = timedelta(seconds=5)
"""For a free bind of the account: those who send have them, and then it is known to work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said.

    Attributes:
        server: ``host:port``.
        offer: what it says of itself; None where it was not asked, or refused us.
        error: why not.
        is_fatal: whether a run would fail for that now, and not wait.
    """

    server: str
    offer: ServerOffer | SmscOffer | None = None
    error: ChannelError | None = None
    is_fatal: bool = False

    @property
    def words(self) -> str:
        """What it came to, in a line."""
        match self.offer:
            case ServerOffer() as offer:
                login = "logged in" if offer.authenticated else "no login"
                return f"{offer.tls or 'no TLS'}, {login}, offers {', '.join(offer.extensions)}"
            case SmscOffer() as offer:
                name = f" to {offer.system_id}" if offer.system_id else ""
                return f"bound as {offer.bind}{name}, {offer.tls or 'no TLS'}"
            case None:
                return "" if self.error is None else self.error.message


async def ask_server(
    database: Database, plan: CampaignPlan, options: SmtpOptions | SmppOptions
) -> Answer:
    """Connect, EHLO, STARTTLS and AUTH, or bind; then hang up.

    The server's circuit is kept as by a run: one that is left alone is not asked, and what it
    does wrong is noted for all. An SMSC is asked with a bind of the account's, when one is free.
    """
    user = options.system_id if isinstance(options, SmppOptions) else options.username or ""
    door = Door(
        server=options.server,
        user=user,
        secret=options.password,
        tenant_id=plan.stored.campaign.tenant_id,
    )
    guard = Guard(
        Circuits(database),
        door,
        patience=plan.stored.definition.delivery.patience or timedelta(0),
        tell=lambda _: None,
    )
    try:
        await guard.require_closed()
        try:
            offer = await _check(database, plan, options)
        except MustWait:
            raise
        except ChannelError as error:
            raise await guard.failed(error) from error
    except ChannelError as error:
        waits = isinstance(error, MustWait)
        return Answer(server=options.server, error=error, is_fatal=not waits)
    return Answer(server=options.server, offer=offer)


async def _check(
    database: Database, plan: CampaignPlan, options: SmtpOptions | SmppOptions
) -> ServerOffer | SmscOffer:
    if isinstance(options, SmtpOptions):
        return await SmtpTransport(options).check()
    claimant = Claimant(
        account=options.bind_name,
        allowed=options.binds,
        owner=f"check of {plan.reference} on {socket.gethostname()} (process {os.getpid()})",
        tenant_id=plan.stored.campaign.tenant_id,
    )
    slots = BindSlots(
        Slots(database),
        claimant,
        on_lost=lambda: None,
        tell=lambda _: None,
        times=SlotTimes(patience=BIND_PATIENCE),
    )
    return await SmppTransport(options, slot=slots).check()

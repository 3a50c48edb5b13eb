"""``ignition recipient``: one person, over all channels and campaigns of a tenant."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json, print_table
from ignition_ext.consent.forgetting import Forgotten
from ignition_ext.consent.forgetting import forget as forget_person
from ignition_ext.consent.timeline import read_timeline

app = App(name="recipient", help="Recipients: what became of one, and forgetting one.")
SHOWN = ("at", "channel", "kind", "what", "code", "detail", "campaign")
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command
async def timeline(address: str, *, tenant: str, json: Json = False) -> None:
    """Everything between a tenant and one recipient, on both channels, in order of time.

    Messages with their events, receipts, reports, opens and clicks, texts and replies,
    suppressions and preferences.

    Args:
        address: An email address or a telephone number; the person's other one is shown too,
            where a row of an audience ties the two.
        tenant: Whose recipient.
        json: Print it as one JSON document.
    """
    async with open_database() as database:
        found = await read_timeline(database, tenant=tenant, address=address)
    if json:
        print_json(found)
        return
    print_table([asdict(moment) for moment in found.moments], *SHOWN)
    note(f"Addresses: {', '.join(found.addresses.values())}.")
    for channel, reason in found.kept_out.items():
        note(f"Stays suppressed by a hash for {channel}: {reason}.")


@app.command
async def forget(
    address: str,
    *,
    tenant: str,
    suppress: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Erase a person from a tenant's data; counts stay, and who was suppressed stays so by a hash.

    What is still to be sent is stopped. A message that is on the wire stays as it is: call again
    when its run is over. Files, backups and logs are not looked through.

    Args:
        address: An email address or a telephone number; the other one of the person's goes too,
            where a row of an audience ties the two and nobody else shares them.
        tenant: Whose data.
        suppress: Keep the person out also on channels that were not suppressed.
        dry_run: Say what would be done, and do nothing.
        json: Print the result as one JSON document.
    """
    async with open_database() as database:
        done = await forget_person(
            database,
            tenant=tenant,
            address=address,
            suppress=suppress,
            dry_run=dry_run,
            actor=actor(),
        )
    if json:
        print_json(done)
    else:
        _tell(done, dry_run=dry_run)


def _tell(done: Forgotten, *, dry_run: bool) -> None:
    note("This would be done:" if dry_run else "Done:")
    note(f"Addresses: {', '.join(done.addresses.values())}.")
    note(f"Rows of audiences deleted: {done.recipients:,}.")
    note(
        f"Messages emptied: {done.messages:,}, of which not yet sent and stopped: {done.stopped:,}."
    )
    for table, number in done.traces.items():
        note(f"Rows of {table} cleaned: {number:,}.")
    for channel, reason in done.kept_out.items():
        note(f"Stays suppressed by a hash for {channel}: {reason}.")
    if done.on_the_wire:
        note(f"On the wire at this moment: {done.on_the_wire:,}; call again when the run is over.")

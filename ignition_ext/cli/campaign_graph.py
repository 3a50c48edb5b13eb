"""``ignition campaign graph``: which campaigns come after which."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ignition_ext.campaigns import store
from ignition_ext.campaigns.chain_drawing import Drawing, around, draw
from ignition_ext.campaigns.chain_store import read_graph
from ignition_ext.campaigns.duration import write_duration
from ignition_ext.cli.context import open_database
from ignition_ext.cli.output import out, print_json
from ignition_ext.tenants import get_tenant

Json = Annotated[bool, Parameter(negative="")]


async def graph(
    which: str | None = None,
    /,
    *,
    drawing: Annotated[Drawing, Parameter(name="--format")] = Drawing.MERMAID,
    json: Json = False,
) -> None:
    """Draw which campaigns come after which, as text for Mermaid or Graphviz.

    Args:
        which: TENANT for all of its campaigns that are in a chain, TENANT/NAME for the chain of
            one; all tenants' when not given.
        drawing: mermaid or dot.
        json: Print one JSON document: campaigns, and edges with parent, child, on and delay.
    """
    async with open_database() as database, database.read() as session:
        if which is None:
            found = await read_graph(session)
        elif "/" in which:
            await store.load(session, which)
            found = around(await read_graph(session, which.partition("/")[0]), which)
        else:
            await get_tenant(session, which)
            found = await read_graph(session, which)
    linked = {child for child, parents in found.items() if parents}
    linked |= {parent.campaign for parents in found.values() for parent in parents}
    if which is not None and "/" in which:
        linked.add(which)
    shown = {name: parents for name, parents in found.items() if name in linked}
    if not json:
        out.print(draw(shown, drawing), markup=False, end="", soft_wrap=True)
        return
    edges = [
        {
            "parent": parent.campaign,
            "child": child,
            "on": parent.on,
            "delay": write_duration(parent.delay) if parent.delay else None,
        }
        for child in sorted(shown)
        for parent in shown[child]
    ]
    print_json({"campaigns": sorted(shown), "edges": edges})

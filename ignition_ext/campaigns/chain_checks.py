"""Checks what campaign files say under ``after`` against each other and the campaigns in force."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns.chain import Graph, find_cycle
from ignition_ext.campaigns.chain_store import read_graph
from ignition_ext.campaigns.checks import Blame
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.errors import ConfigurationError


async def check_chains(session: AsyncSession, written: Mapping[Path, CampaignDefinition]) -> Graph:
    """The graph as it will be once these files are applied.

    Raises:
        CampaignFileError: a parent is neither there nor among the files, or they go in a circle.
    """
    graph = {
        **await read_graph(session),
        **{definition.reference: definition.after for definition in written.values()},
    }
    for file, definition in written.items():
        for index, parent in enumerate(definition.after):
            if parent.campaign not in graph:
                raise Blame(file).on(_unknown(parent.campaign, graph), "after", index)
        if path := find_cycle(graph, definition.reference):
            raise Blame(file).on(_circle(path), "after")
    return graph


async def require_no_cycle(session: AsyncSession, definition: CampaignDefinition) -> None:
    """The same for one definition that was just written, in the transaction that wrote it.

    Two people may each apply one half of a circle. The audit log's lock, which whoever changes a
    campaign holds until he has committed, lets them in one by one.

    Raises:
        ConfigurationError: it goes in a circle.
    """
    if not definition.after:
        return
    graph = await read_graph(session, definition.tenant)
    if path := find_cycle(graph, definition.reference):
        raise _circle(path)


def _unknown(name: str, graph: Graph) -> ConfigurationError:
    near = get_close_matches(name, graph, n=1)
    mend = f"Did you mean {near[0]}?" if near else "Apply its file too, in the same command."
    return ConfigurationError(f"there is no campaign {name}.", mend=mend)


def _circle(path: list[str]) -> ConfigurationError:
    return ConfigurationError(
        f"it goes in a circle: {' -> '.join(path)}.",
        mend="Take one of these out of another's `after:`.",
    )

"""An API that refuses one event for good gets the others; one that is away gets all later."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from ignition_ext.orchestration.outcome_events import tell_prefect
from ignition_ext.outcomes import Announcement, EventName, announce


class Api:
    """The one call that is made of Prefect's client, over HTTP to a server of this test."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def request(self, method: str, path: str, *, json: Any) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, self._url + path, json=json)


async def test_one_event_that_is_refused_does_not_hold_up_the_rest(
    world: Any, hook: Any, answer_of: Any
) -> None:
    """All that is wrong with it is written to the log, and it is not told again."""
    async with world.database.write() as session:
        await announce(
            session,
            [
                Announcement(
                    tenant_id=world.tenant_id,
                    name=EventName.RUN_STOPPED,
                    subject=f"run:{number}",
                    payload={"number": number},
                )
                for number in range(4)
            ],
        )
    client = cast(PrefectClient, Api(hook.url))
    hook.answer = answer_of(503)
    with pytest.raises(httpx.HTTPStatusError):
        await tell_prefect(world.database, client)
    assert all(row.told_at is None for row in await world.outbox())
    hook.requests.clear()
    hook.answer = answer_of(204)
    hook.answers = [answer_of(422), answer_of(204), answer_of(422), answer_of(413, text="large")]

    assert await tell_prefect(world.database, client) == 4

    assert [len(json.loads(request.body)) for request in hook.requests] == [4, 2, 2, 1, 1]
    assert all(row.told_at is not None for row in await world.outbox())
    assert await tell_prefect(world.database, client) == 0

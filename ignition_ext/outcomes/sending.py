"""Sends what is due to webhooks: some at a time, each on its own, in bounded memory."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError
from ignition_ext.outcomes.addresses import Guard
from ignition_ext.outcomes.leases import Due, Leased, give_back, lease_endpoints, read_due
from ignition_ext.outcomes.posting import TIMEOUT_SECONDS, Answer, Poster, Resolve, Resolver
from ignition_ext.outcomes.results import Verdict, settle
from ignition_ext.outcomes.sealing import unseal
from ignition_ext.outcomes.signature import headers
from ignition_ext.settings import Settings

HEALTHY_AT_ONCE, FAILING_AT_ONCE = 16, 16
"""Webhooks that are sent to at a time. Those that failed last have places of their own: however
many they are, and however long they let us wait, the others do not notice."""
DELIVERIES_AT_ONCE = 8
"""To one webhook. With the bodies' size this bounds memory: some ten megabytes at most."""
ROUNDS = 25
"""Before a webhook with much to be told lets another one have its place."""
LOOK_EVERY_SECONDS = 1.0
"""Between two looks for webhooks that have become due while others are being sent to."""


@dataclass(slots=True)
class Sent:
    """What a pass came to."""

    delivered: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)


class WebhookSender:
    """Sends; one of it for a process. Safe beside others: leases keep them apart.

    Args:
        database: Ignition's.
        settings: what addresses are allowed, and how long a webhook may fail.
        resolve: looks names up; the system's resolver where it is not given.
        timeout: seconds for an attempt.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        resolve: Resolve | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._database, self._settings, self._timeout = database, settings, timeout
        self._resolver = Resolver(HEALTHY_AT_ONCE + FAILING_AT_ONCE)
        self._resolve: Resolve = resolve or self._resolver
        self._guard = Guard.of(settings.webhook_allow_private)
        self._tls = ssl.create_default_context()
        self._dead_after = timedelta(days=settings.webhook_dead_days)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resolver.close()

    async def send_due(self, *, seconds: float) -> Sent:
        """Send until nothing is due, or for so long; who is under way then comes to an end."""
        sent = Sent()
        ends = asyncio.get_running_loop().time() + seconds
        running: dict[asyncio.Task[None], tuple[UUID, bool]] = {}
        try:
            while True:
                if asyncio.get_running_loop().time() < ends:
                    for leased, failing in await self._take(list(running.values())):
                        task = asyncio.create_task(self._serve(leased, sent, ends))
                        running[task] = (leased.endpoint_id, failing)
                if not running:
                    return sent
                done, _ = await asyncio.wait(
                    running, timeout=LOOK_EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    del running[task]
                    if error := task.exception():
                        sent.errors.append(f"{type(error).__name__}: {error}")
                if sent.errors:
                    ends = 0.0  # the database's: what is under way ends, no more begins
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _take(self, running: Sequence[tuple[UUID, bool]]) -> list[tuple[Leased, bool]]:
        taken: list[tuple[Leased, bool]] = []
        for failing, most in ((False, HEALTHY_AT_ONCE), (True, FAILING_AT_ONCE)):
            room = most - sum(kind is failing for _, kind in running)
            if room > 0:
                found = await lease_endpoints(
                    self._database,
                    failing=failing,
                    limit=room,
                    without=[key for key, _ in running],
                )
                taken += [(leased, failing) for leased in found]
        return taken

    async def _serve(self, leased: Leased, sent: Sent, ends: float) -> None:
        clock = asyncio.get_running_loop().time
        try:
            async with Poster(
                leased.url,
                guard=self._guard,
                resolve=self._resolve,
                tls=self._tls,
                timeout=self._timeout,
            ) as poster:
                # One that fails is asked with a single delivery whether it is well again.
                at_once = 1 if leased.failures else DELIVERIES_AT_ONCE
                for _ in range(ROUNDS):
                    due = await read_due(self._database, leased, at_once)
                    if not due:
                        return
                    verdict = await self._round(leased, due, poster)
                    sent.delivered += verdict.delivered
                    sent.failed += verdict.failed
                    at_once = DELIVERIES_AT_ONCE
                    if verdict.is_failing or verdict.is_gone or verdict.wait_until:
                        return
                    if clock() >= ends:
                        return
        finally:
            await give_back(self._database, leased)

    async def _round(self, leased: Leased, due: Sequence[Due], poster: Poster) -> Verdict:
        try:
            secrets = self._secrets(leased)
        except ConfigurationError as error:
            answers = {due[0]: Answer(status=0, detail=error.message)}
        else:
            attempts = [_attempt(one, poster, secrets) for one in due]
            answers = dict(zip(due, await asyncio.gather(*attempts), strict=True))
        return await settle(
            self._database, leased, answers, dead_after=self._dead_after, chance=random.random
        )

    def _secrets(self, leased: Leased) -> list[str]:
        stored = [one for one in (leased.secret, leased.old_secret) if one]
        return [unseal(one, leased.endpoint_id, self._settings) for one in stored]


def _attempt(due: Due, poster: Poster, secrets: Sequence[str]) -> Awaitable[Answer]:
    content = due.body.encode()
    signed = headers(delivery_id=due.id, at=datetime.now(UTC), content=content, secrets=secrets)
    return poster.post(content, signed)

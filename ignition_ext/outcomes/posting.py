"""One attempt: resolve, check every address, connect to the one that was checked, ask, read little.

A request goes to the address itself, with the host's name in ``Host`` and for TLS, so that a name
that resolves to something else a moment later leads nowhere else. Redirects are not followed, the
environment's proxies not used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import httpx

from ignition_ext.outcomes.addresses import Guard, refused

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and a port to its addresses; raises OSError where there are none."""

TIMEOUT_SECONDS = 15.0
"""For an attempt from the look-up of the name to the last byte of the answer."""
MOST_ANSWER = 4096
"""Bytes of an answer that are read; only its status matters, the rest is for people."""
DETAIL_LENGTH = 300
CONTENT_TYPE = "application/json; charset=utf-8"
USER_AGENT = "Ignition-Webhooks/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an attempt ended: ``status`` is 0 where nothing was answered."""

    status: int
    detail: str = ""
    retry_after: str | None = None


class Resolver:
    """Looks names up in threads of its own, so that slow ones wait for nobody else.

    Args:
        threads: as many names as are looked up at a time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ignition-names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Wait for no look-up that is still under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Poster:
    """Sends to one URL, over connections that no other URL shares.

    Args:
        url: the endpoint's.
        guard: which addresses are allowed.
        resolve: looks names up.
        tls: the context that certificates are checked with.
        timeout: seconds for an attempt.
    """

    def __init__(
        self,
        url: str,
        *,
        guard: Guard,
        resolve: Resolve,
        tls: ssl.SSLContext,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url, self._guard, self._resolve = httpx.URL(url), guard, resolve
        self._timeout = timeout
        # A pool knows connections by address alone, not by the name that TLS was spoken for.
        self._client = httpx.AsyncClient(
            verify=tls, trust_env=False, follow_redirects=False, timeout=timeout
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt; whatever goes wrong is an answer."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(content, headers)
        except TimeoutError:
            return Answer(status=0, detail=f"no answer within {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Answer(status=0, detail=_words(error))

    async def _post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        addresses = await self._resolve(self._url.host, port)
        for address in addresses:
            # One that is wrong is enough: a name that leads inside now and then is no name for us.
            if not self._guard.permits(address):
                return Answer(status=0, detail=refused(address).message)
            if self._url.scheme != "https" and not self._guard.permits_plain_http(address):
                return Answer(status=0, detail=f"{address} is only sent to with TLS.")
        lost: httpx.ConnectError | None = None
        for address in addresses:
            try:
                return await self._ask(address, content, headers)
            except httpx.ConnectError as error:
                lost = error
        if lost is not None:
            raise lost
        return Answer(status=0, detail=f"{self._url.host} has no address")

    async def _ask(self, address: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        own = {
            "Host": self._url.netloc.decode(),
            "Content-Type": CONTENT_TYPE,
            "User-Agent": USER_AGENT,
            # What comes back is read as it is, and little of it.
            "Accept-Encoding": "identity",
            **headers,
        }
        async with self._client.stream(
            "POST",
            self._url.copy_with(host=address),
            content=content,
            headers=own,
            extensions={"sni_hostname": self._url.host},
        ) as response:
            read = b""
            async for piece in response.aiter_raw(MOST_ANSWER):
                read += piece
                if len(read) >= MOST_ANSWER:
                    break
            words = " ".join(read[:MOST_ANSWER].decode(errors="replace").split())
            return Answer(
                status=response.status_code,
                detail=words.replace("\0", "")[:DETAIL_LENGTH],
                retry_after=response.headers.get("retry-after"),
            )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")[:DETAIL_LENGTH]

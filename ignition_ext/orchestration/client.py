"""The way to Prefect's API for commands: a server that is really there, and errors that say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from json import JSONDecodeError

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError

from ignition_ext.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectFailed,
    IgnitionError,
    ProtocolViolation,
)

PROBE_SECONDS = 60.0
"""Prefect's client waits and retries for minutes; a person at a terminal wants to know sooner. No
server at all is known at once; one that is there and busy was seen to take more than 15 s."""

BUSY_PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Seconds after which a server that is busy (503) is asked again, before Prefect's client waits for
2, 4, 8 and more: on SQLite that is the answer to whoever writes while the scheduler does, which
takes it milliseconds."""

_SET_URL = "Start one with `prefect server start` and set PREFECT_API_URL to its address."


def api_url() -> str:
    """The address of the Prefect API in use.

    Raises:
        ConfigurationError: none is set. Prefect itself would start a server of its own for each
            command, and throw it away with everything that was deployed to it.
    """
    url: str | None = PREFECT_API_URL.value()
    if not url:
        raise ConfigurationError(
            "no Prefect server is named.",
            mend=f"{_SET_URL} For example PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    return url


@asynccontextmanager
async def prefect_client() -> AsyncIterator[PrefectClient]:
    """A client of the Prefect server in use, which has answered once.

    Raises:
        ConfigurationError: no server is named, or the address is not that of an API.
        ConnectFailed: nobody answers.
        AuthenticationFailed: the server wants another PREFECT_API_AUTH_STRING.
        ProtocolViolation: something else than Prefect answers.
    """
    url = api_url()
    with told_plainly(url):
        async with get_client(httpx_settings={"event_hooks": {"response": [_ask_soon]}}) as client:
            await _probe(client, url)
            yield client


async def _ask_soon(response: httpx.Response) -> None:
    """Give an answer of a busy server the time to ask again that Prefect's client goes by."""
    if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        return
    seen = response.request.extensions.setdefault("ignition_busy", [])
    if len(seen) < len(BUSY_PAUSES):
        response.headers.setdefault("Retry-After", str(BUSY_PAUSES[len(seen)]))
        seen.append(response.status_code)


async def _probe(client: PrefectClient, url: str) -> None:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await client.api_version()
    except (JSONDecodeError, ValidationError, UnicodeDecodeError) as error:
        raise ProtocolViolation(
            "what answers there is not a Prefect server.",
            server=url,
            mend="Check PREFECT_API_URL; it ends with /api.",
        ) from error


@contextmanager
def told_plainly(url: str) -> Iterator[None]:
    """Turn what Prefect's client raises into Ignition's errors, with a mend.

    Raises:
        IgnitionError: of the class that fits; others pass through unchanged.
    """
    try:
        yield
    except IgnitionError:
        raise
    except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects, TimeoutError) as error:
        raise ConnectFailed(
            f"the Prefect server does not answer: {error or type(error).__name__}.",
            server=url,
            mend=_SET_URL,
        ) from error
    except httpx.HTTPStatusError as error:
        raise _refused(error, url) from error
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"the Prefect server {url} does not have it any more: {error}.",
            mend="Someone else changed it meanwhile; try again.",
        ) from error


def _refused(error: httpx.HTTPStatusError, url: str) -> IgnitionError:
    status = error.response.status_code
    detail = _detail(error.response)
    match status:
        case 401 | 403:
            return AuthenticationFailed(
                f"the Prefect server refuses us ({status}).",
                server=url,
                code=str(status),
                mend="Set PREFECT_API_AUTH_STRING to what the server was started with.",
            )
        case 404 if error.request.url.path.endswith("/admin/version"):
            return ConfigurationError(
                f"{url} is not the address of a Prefect API.",
                mend="Check PREFECT_API_URL; it ends with /api.",
            )
        case _ if status >= 500:
            return ProtocolViolation(
                f"the Prefect server failed ({status}): {detail}",
                server=url,
                code=str(status),
                mend="Read the server's log; `ignition doctor` checks its versions.",
            )
        case _:
            return ConfigurationError(
                f"the Prefect server {url} refused {error.request.method}"
                f" {error.request.url.path} ({status}): {detail}",
                mend="`ignition doctor` checks that its version fits.",
            )


def _detail(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:300]
    detail = (
        body.get("detail", body.get("exception_detail", body)) if isinstance(body, dict) else body
    )
    return str(detail)[:300]

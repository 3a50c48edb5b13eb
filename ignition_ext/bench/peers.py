"""Runs the peers beside us, one after the other, against the server that we were sent against."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, assert_never

from ignition_ext.bench.child import ask, output_of, started
from ignition_ext.bench.content import email_bytes, email_samples, sms_samples
from ignition_ext.bench.options import Address, BenchOptions, Say
from ignition_ext.devtools.referee import find_program
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.errors import ConfigurationError, IgnitionError
from ignition_ext.values import Channel

Rates = Mapping[str, float | None]
"""Messages a second by peer; None for one that is not installed or cannot do what is asked."""

PREFECT_TASK = "prefect_email_task"
"""The one peer that needs a Prefect server."""
PACKAGES = {
    "prefect_email": "prefect_email",
    PREFECT_TASK: "prefect_email",
    "smtplib": "smtplib",
    "aiosmtplib": "aiosmtplib",
}
WINDOWS = (1, 50)
NAMES: Mapping[Channel, tuple[str, ...]] = {
    Channel.EMAIL: (*PACKAGES, "smtp_source"),
    Channel.SMS: tuple(f"smpplib_window_{window}" for window in WINDOWS),
}
_FIRST_GUESS = 1000
"""Messages of the trial that says how many smtp-source sends in the time given."""


def job_for(options: BenchOptions, server: Address) -> dict[str, Any]:
    """What every sending process needs to know."""
    return {
        **asdict(server),
        "channel": options.channel.value,
        "null": options.null,
        "security": options.security,
        "connections": options.connections,
        "window": options.window,
        "binds": options.binds,
        "system_id": options.system_id,
        "password": options.password,
        "seconds": options.peer_seconds,
    }


async def peer_rates(options: BenchOptions, server: Address | None, say: Say) -> Rates:
    """What each peer does in about the time given; nobody where there is no server."""
    names = NAMES[options.channel]
    if server is None or not options.peer_seconds:
        return dict.fromkeys(names)
    rates: dict[str, float | None] = {}
    for name in names:
        say(f"peer {name} …")
        try:
            rates[name] = await _rate(name, options, server)
        except IgnitionError as error:
            say(f"{name} was not measured: {error.message} {error.mend}")
            rates[name] = None
    return rates


async def _rate(name: str, options: BenchOptions, server: Address) -> float:
    job = job_for(options, server)
    match options.channel:
        case Channel.EMAIL:
            if name == "smtp_source":
                return await _smtp_source(options, server)
            _require(PACKAGES[name])
            answer = await _mail(name, {**job, "peer": name, "samples": _mails()})
        case Channel.SMS:
            _require("smpplib")
            window = int(name.rpartition("_")[2])
            answer = await ask("peers_sms", {**job, "window": window, "samples": sms_samples()})
        case _:
            assert_never(options.channel)
    return float(answer["messages"] / answer["seconds"])


async def _mail(name: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """What one of the email peers says; it alone has a Prefect server, which ends with it."""
    if name != PREFECT_TASK:
        return await ask("peers_email", job)
    with tempfile.TemporaryDirectory(prefix="ignition-bench-", ignore_cleanup_errors=True) as home:
        server = PrefectServer(Path(home))
        async with started(server):
            quiet = {"PREFECT_LOGGING_LEVEL": "WARNING"}
            return await ask("peers_email", job, {**server.environment, **quiet})


@cache
def _mails() -> tuple[tuple[str, str, str, str], ...]:
    return tuple(email_samples())


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise ConfigurationError(f"the package {package} is not installed.")


async def _smtp_source(options: BenchOptions, server: Address) -> float:
    """Postfix's ``smtp-source`` with persistent connections and one canned message as large."""
    if options.security != "none":
        raise ConfigurationError("smtp-source speaks no TLS.")
    program = find_program("smtp-source")

    async def rate(messages: int) -> float:
        began = time.perf_counter()
        status = await output_of(
            program,
            *("-s", str(options.connections), "-d", "-m", str(messages)),
            *("-l", str(len(email_bytes())), str(server)),
        )
        if status:
            raise IgnitionError(f"smtp-source ended with status {status}.")
        return messages / (time.perf_counter() - began)

    guess = await rate(_FIRST_GUESS)
    return await rate(max(_FIRST_GUESS, int(guess * options.peer_seconds)))


async def sink_rate(options: BenchOptions, server: Address | None, say: Say) -> float | None:
    """How fast the server takes ready octets: well above our own rate, or it was the bottleneck."""
    if server is None or not options.peer_seconds or options.security != "none":
        return None
    say("the sink by itself …")
    try:
        answer = await ask("blast", job_for(options, server))
    except IgnitionError as error:
        say(error.message)
        return None
    return float(answer["messages"] / answer["seconds"])

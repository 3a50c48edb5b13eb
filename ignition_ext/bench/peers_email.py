"""The email peers: other ways to send the same messages from Python, each for some seconds.

``python -m ignition_ext.bench.peers_email`` reads a job as JSON on stdin (``peer`` names one) and
prints ``messages`` and the ``seconds`` that they took. All get their texts rendered; what is timed
is making the message and sending it, so every comparison is kind to them.
"""

from __future__ import annotations

import asyncio
import json
import smtplib
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from itertools import cycle
from typing import Any

import aiosmtplib
from prefect import flow
from prefect_email import EmailServerCredentials, email_send_message

SENDER = "Acme <news@acme.example>"
Sample = Sequence[str]
Job = dict[str, Any]
Sent = tuple[int, float]
"""Messages, and the seconds that they took."""
Peer = Callable[[Job, Iterator[Sample]], Coroutine[Any, Any, Sent]]


def compose(sample: Sample) -> EmailMessage:
    """One message as the standard library makes it."""
    address, subject, text, html = sample
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, address, subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="acme.example")
    message["Reply-To"] = "help@acme.example"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message


def unverified() -> ssl.SSLContext:
    """TLS as it is used against the benchmark's own sink: encrypted, certificate not checked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def prefect_email(job: Job, samples: Iterator[Sample]) -> Sent:
    """prefect-email's own function, a connection a message, without the task run around it."""
    return await _by_prefect_email(email_send_message.fn, job, samples)


async def prefect_email_task(job: Job, samples: Iterator[Sample]) -> Sent:
    """prefect-email as its users call it: a task run a message, in a flow run."""

    @flow(name="ignition-bench-prefect-email")
    async def campaign() -> Sent:
        return await _by_prefect_email(email_send_message, job, samples)

    return await campaign()


async def _by_prefect_email(
    send: Callable[..., Awaitable[object]], job: Job, samples: Iterator[Sample]
) -> Sent:
    kinds = {"none": "INSECURE", "starttls": "STARTTLS", "tls": "SSL"}
    credentials = EmailServerCredentials(
        smtp_server=job["host"],
        smtp_port=job["port"],
        smtp_type=kinds[job["security"]],
        verify=False,
    )
    count, began = 0, time.monotonic()
    while time.monotonic() < began + job["seconds"]:
        address, subject, text, html = next(samples)
        await send(
            subject=subject,
            msg=html,
            msg_plain=text,
            email_to=address,
            email_from=SENDER,
            email_server_credentials=credentials,
        )
        count += 1
    return count, time.monotonic() - began


async def standard_library(job: Job, samples: Iterator[Sample]) -> Sent:
    """smtplib over one persistent connection."""
    count, began = 0, time.monotonic()
    if job["security"] == "tls":
        client: smtplib.SMTP = smtplib.SMTP_SSL(job["host"], job["port"], context=unverified())
    else:
        client = smtplib.SMTP(job["host"], job["port"])
        if job["security"] == "starttls":
            client.starttls(context=unverified())
    with client:
        while time.monotonic() < began + job["seconds"]:
            client.send_message(compose(next(samples)))
            count += 1
    return count, time.monotonic() - began


async def aio(job: Job, samples: Iterator[Sample]) -> Sent:
    """aiosmtplib over as many persistent connections as ours has."""
    count, began = 0, time.monotonic()

    async def work() -> None:
        nonlocal count
        client = aiosmtplib.SMTP(
            hostname=job["host"],
            port=job["port"],
            use_tls=job["security"] == "tls",
            start_tls=job["security"] == "starttls",
            validate_certs=False,
        )
        async with client:
            while time.monotonic() < began + job["seconds"]:
                await client.send_message(compose(next(samples)))
                count += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(job["connections"]):
            group.create_task(work())
    return count, time.monotonic() - began


PEERS: dict[str, Peer] = {
    "prefect_email": prefect_email,
    "prefect_email_task": prefect_email_task,
    "smtplib": standard_library,
    "aiosmtplib": aio,
}


def main() -> None:
    """Send as one peer."""
    job: Job = json.load(sys.stdin)
    count, seconds = asyncio.run(PEERS[job["peer"]](job, cycle(job["samples"])))
    json.dump({"messages": count, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()

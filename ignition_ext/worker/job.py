"""What the worker tells its fork server, and what it hears from it: JSON in frames."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LENGTH = struct.Struct(">I")
"""Bytes of the JSON that follows; an environment is some kilobytes, a deployment may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One flow run for one child.

    Attributes:
        flow_run: the flow run as the worker has it, in JSON.
        deployment: its deployment in JSON, None where it has none.
        environment: the child's whole environment.
        directory: the working directory; pull steps put the flow's code there.
        manifest_path: where the child says which interpreter can run the flow's hooks.
        stream_output: whether what is printed goes to the worker's own output.
    """

    flow_run: str
    deployment: str | None
    environment: Mapping[str, str]
    directory: str
    manifest_path: str
    stream_output: bool


def encode(message: Mapping[str, Any]) -> bytes:
    """One frame."""
    body = json.dumps(message).encode()
    return LENGTH.pack(len(body)) + body


def job_message(number: int, job: Job) -> Mapping[str, Any]:
    """The request to fork a child for a job."""
    return {"number": number, "job": asdict(job)}


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """The next message of a blocking socket; None at its end."""
    head = _exactly(channel, LENGTH.size)
    body = head and _exactly(channel, LENGTH.unpack(head)[0])
    if not body:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def _exactly(channel: socket.socket, size: int) -> bytes:
    """That many bytes, or none at all where the other side is gone."""
    data = bytearray()
    while len(data) < size:
        try:
            chunk = channel.recv(size - len(data))
        except ConnectionError:
            return b""
        if not chunk:
            return b""
        data += chunk
    return bytes(data)

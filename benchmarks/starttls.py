"""What encryption costs: the email benchmark through a relay that ends STARTTLS, and a plain one.

``python benchmarks/starttls.py [--messages N] [--repeat N]``, with Debian's packages ``postfix``,
``stunnel4`` and ``socat``

smtp-sink knows no TLS, so that stunnel speaks it in front, for us and for every peer alike; beside
it socat relays without. Printed are both documents of ``ignition bench email`` and their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ignition_ext.bench.certificate import write_certificate
from ignition_ext.bench.options import Address, BenchOptions
from ignition_ext.bench.sinks import open_sink
from ignition_ext.values import Channel

HOST = "127.0.0.1"
LISTENING_SECONDS = 10.0


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def running(port: int, *command: str) -> AsyncIterator[Address]:
    """A relay that listens on the port, until the end of the block."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(LISTENING_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection(HOST, port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield Address(host=HOST, port=port)
    finally:
        process.terminate()
        await process.wait()


def encrypting(folder: Path, port: int, target: Address) -> list[str]:
    """stunnel's command line; it offers STARTTLS by itself."""
    certificate = write_certificate(folder / "certificate.pem", HOST)
    configuration = folder / "stunnel.conf"
    configuration.write_text(
        f"foreground = yes\npid =\ndebug = err\nsslVersionMin = TLSv1.2\n"
        f"socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
        f"[smtp]\nprotocol = smtp\naccept = {HOST}:{port}\nconnect = {target}\n"
        f"cert = {certificate}\n"
    )
    return ["stunnel4", str(configuration)]


def plain(port: int, target: Address) -> list[str]:
    """socat's command line."""
    listen = f"TCP-LISTEN:{port},bind={HOST},reuseaddr,fork,nodelay"
    return ["socat", listen, f"TCP:{target},nodelay"]


async def bench(target: Address, security: str, options: argparse.Namespace) -> dict[str, Any]:
    """What ``ignition bench email`` says of one way."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("ignition")), "bench", "email", "--json"),
        *("--target", str(target), "--security", security),
        *("--messages", str(options.messages), "--repeat", str(options.repeat)),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    document: dict[str, Any] = json.loads(told)
    return document


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with open_sink(
            BenchOptions(channel=Channel.EMAIL, messages=options.messages)
        ) as sink:
            port, other = free_port(), free_port()
            async with running(port, *encrypting(folder, port, sink.address)) as relay:
                encrypted = await bench(relay, "starttls", options)
            async with running(other, *plain(other, sink.address)) as relay:
                clear = await bench(relay, "none", options)
    return {
        "starttls": encrypted,
        "plain": clear,
        "ratio": round(encrypted["rate"] / clear["rate"], 3),
    }


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    json.dump(asyncio.run(measure(parser.parse_args())), sys.stdout, indent=2)


if __name__ == "__main__":
    main()

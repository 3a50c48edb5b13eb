"""Nodes for ``nodes.py``: network namespaces where that is allowed, else homes on one network.

A third namespace holds what the nodes share: PostgreSQL, the Prefect server and the far side, on
its loopback, reached from the nodes at one address through relays.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delay_relay import Inward

INSIDE = "IGNITION_NODES_SPACE"
"""Set in the process that runs within the namespace of the servers: the prefix of all names."""
SERVERS = "10.77.0.1"
NODES = ("one", "two")


def can_have_namespaces() -> bool:
    """Whether this user may make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"ig{os.getpid()}probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    return made.returncode == 0


def run_inside(arguments: Sequence[str]) -> int:
    """Make three namespaces, and run this program again within that of the servers."""
    prefix = f"ig{os.getpid()}"
    far, nodes = f"{prefix}far", [f"{prefix}{name}" for name in NODES]
    try:
        for name in (far, *nodes):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", far, "addr", "add", f"{SERVERS}/32", "dev", "lo")
        for number, node in enumerate(nodes, start=1):
            link, net = f"{prefix}v{number}", f"10.77.{number}"
            peer = ["peer", "name", "eth0", "netns", node]
            _ip("link", "add", link, "netns", far, "type", "veth", *peer)
            _ip("-n", far, "addr", "add", f"{net}.1/24", "dev", link)
            _ip("-n", far, "link", "set", link, "up")
            _ip("-n", node, "addr", "add", f"{net}.2/24", "dev", "eth0")
            _ip("-n", node, "link", "set", "eth0", "up")
            _ip("-n", node, "route", "add", "default", "via", f"{net}.1")
        command = ["ip", "netns", "exec", far, sys.executable, *arguments]
        with subprocess.Popen(command, env=os.environ | {INSIDE: prefix}) as inside:
            try:
                return inside.wait()
            except BaseException:
                inside.terminate()
                inside.wait()
                raise
    finally:
        for name in (*nodes, far):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Relays:
    """Makes ports of this namespace's loopback reachable at the servers' address."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def show(self, port: int) -> None:
        """Relay one port, without any delay."""

        async def listen() -> None:
            await self._loop.create_server(lambda: Inward(0, "127.0.0.1", port), SERVERS, port)

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)


@dataclass
class Node:
    """A namespace, or only a home: what runs there can be killed all at once."""

    name: str
    home: Path
    prefix: str | None

    def spawn(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start a program on the node; its output goes to a log in its home."""
        self.home.mkdir(parents=True, exist_ok=True)
        enter = ["ip", "netns", "exec", f"{self.prefix}{self.name}"] if self.prefix else []
        mark = {"IGNITION_NODE": f"{self.name}-{os.getpid()}", "PREFECT_HOME": str(self.home)}
        with (self.home / "log").open("ab") as log:
            subprocess.Popen(
                [*enter, *command],
                cwd=self.home,
                env={**environment, **mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> list[int]:
        """All that runs on it."""
        if self.prefix:
            listed = subprocess.run(
                ["ip", "netns", "pids", f"{self.prefix}{self.name}"],
                capture_output=True,
                text=True,
                check=True,
            )
            return [int(line) for line in listed.stdout.split()]
        mark = f"IGNITION_NODE={self.name}-{os.getpid()}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def kill(self) -> int:
        """``kill -9`` for the worker and all its children; returns how many there were."""
        killed = 0
        while processes := self.processes():
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    killed += 1
            _reap()
            time.sleep(0.02)
        return killed


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@contextmanager
def open_nodes(folder: Path, space: str | None) -> Iterator[tuple[Node, Node]]:
    """Two nodes; what still runs on them at the end is killed."""
    one, two = (Node(name, folder / name, space) for name in NODES)
    try:
        yield one, two
    finally:
        for node in (one, two):
            node.kill()


@contextmanager
def metered(count: Callable[[], int], window: float = 15.0) -> Iterator[Callable[[], float]]:
    """Watches a count meanwhile; gives the highest rate over any such time, in a second.

    That is the rate with all senders there, whatever their start took.
    """
    samples: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            samples.append((time.monotonic(), count()))

    def best() -> float:
        rates = [0.0]
        for began, before in samples:
            for ended, after in samples:
                if ended - began >= window:
                    rates.append((after - before) / (ended - began))
                    break
        return round(max(rates), 1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield best
    finally:
        over.set()
        thread.join()


def verdict(found: dict[str, Any], *, uncertain: int) -> list[str]:
    """What is not as it should be; ``uncertain`` messages a run are allowed."""
    wrong = []
    for run in found["runs"]:
        if run["state"] != "Completed":
            wrong.append(f"{run['run']}: {run['state']}")
        if run["far"] != run["far_distinct"]:
            wrong.append(f"{run['run']}: somebody got two")
        if run.get("lost") or run.get("sent_and_never_arrived"):
            wrong.append(f"{run['run']}: messages were lost")
        if run.get("uncertain", 0) > uncertain:
            wrong.append(f"{run['run']}: more uncertain than were on the wire")
    if found.get("share_of_two", 0) > 0.65:
        wrong.append(f"two nodes take {found['share_of_two']} of one's time")
    return wrong

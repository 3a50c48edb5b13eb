"""A Prefect server and its workers as child processes, on loopback, in a folder of their own.

For the tests, ``ignition demo`` and ``ignition up``. Nothing of the caller's Prefect is touched:
home, database and settings live in the given folder, and the environment is scrubbed of
``PREFECT_*`` and ``IGNITION_*`` first. The classes block; from a coroutine call their methods
through ``asyncio.to_thread``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Self
from urllib.request import ProxyHandler, Request, build_opener
from uuid import uuid4

from ignition_ext.devtools.postgres import free_port
from ignition_ext.errors import ConfigurationError
from ignition_ext.sqlite_cursors import PLUGIN

START_SECONDS = 240.0
"""A server needs 7 to 10 s on two idle cores; on one where much else runs two minutes were seen."""
STOP_SECONDS = 20.0
"""What a process may take to end by itself before it is killed: a sender's drain time."""
POLL_SECONDS = 0.1
LOG_TAIL = 2000
"""Characters of a log that an error quotes: a traceback's end."""

FAR_AHEAD = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "P100D",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "600",
}
"""Settings with which the server makes runs for its whole horizon, or 100 a schedule, so that its
UI shows them; else it makes three or an hour's. It looks at new and changed deployments each few
seconds in any case, so the others' turn may come more seldom."""

_open = build_opener(ProxyHandler({})).open


def scrubbed_environment() -> dict[str, str]:
    """This process's environment without what would steer Prefect or Ignition."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "IGNITION_"))
    }


def _ask(url: str, body: object | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers={"Content-Type": "application/json"})
    with _open(request, timeout=5) as response:
        return json.load(response)


def descendants(parent: int) -> Sequence[int]:
    """The processes that a process started and those that they started, by Linux's /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it ended meanwhile
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, to_see = [], [parent]
    while to_see:
        below = children.get(to_see.pop(), [])
        found += below
        to_see += below
    return found


class ChildProcess(ABC):
    """One process with a log file; it leads a group, so that its own children end with it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; it is also its group's."""
        if self._process is None:
            raise ConfigurationError(f"{self.name} has not been started.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def spawn(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start the process in its folder, with output appended to the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log: IO[bytes]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Wait until the process does what it is for.

        Raises:
            ConfigurationError: it ended, or was not ready in time; the log's end is quoted.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.running:
                break
            with suppress(OSError, HTTPException, ValueError):  # not listening yet
                if ready():
                    return
            time.sleep(POLL_SECONDS)
        state = "is not ready" if self.running else "ended"
        self.kill()
        tail = self.log.read_text(errors="replace")[-LOG_TAIL:] if self.log.exists() else ""
        raise ConfigurationError(f"{self.name} {state}:\n{tail}", mend=f"Read {self.log}.")

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the process to end, wait, and kill what is left of its group."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the whole group at once; what leads a group of its own stays."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # the group is gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def lose(self) -> None:
        """Kill it and all that it started at once, as with a node that is lost."""
        below = descendants(self.pid)
        self.kill()
        for process in below:
            with suppress(ProcessLookupError):  # of the group
                os.kill(process, signal.SIGKILL)

    @abstractmethod
    def start(self) -> Self:
        """Start and wait until it is ready."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class PrefectServer(ChildProcess):
    """``prefect server start`` with its own home, by default on SQLite and a free port.

    Attributes:
        url: the API's address, as ``PREFECT_API_URL`` wants it.
        ui_url: where a browser finds it.
        environment: what a client of this server needs in its environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        database_url: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("prefect-server", folder)
        self.settings = settings or {}
        self.port = port or free_port()
        self.home = folder / "prefect"
        self.ui_url = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.ui_url}/api"
        sqlite = f"sqlite+aiosqlite:///{self.home / 'prefect.db'}?plugin={PLUGIN}"
        self.database_url = database_url or sqlite

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this server needs in its environment."""
        return {
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(self.home),
            "PREFECT_CLI_PROMPT": "false",
            "DO_NOT_TRACK": "1",
        }

    def start(self) -> Self:
        """Start it and wait until its API answers.

        Raises:
            ConfigurationError: it does not come up; the log's end is quoted.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        environment = scrubbed_environment() | self.environment
        environment |= {
            "PREFECT_API_DATABASE_CONNECTION_URL": self.database_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # The UI calls the address named here, not the one it was opened from.
            "PREFECT_SERVER_UI_API_URL": self.url,
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        }
        if find_spec("tzdata") is not None:
            # Each time that Prefect reads a schedule it lists all zones: a walk through hundreds
            # of the system's files, or one file of this package.
            environment["PYTHONTZPATH"] = ""
        environment |= self.settings
        host = ["--host", "127.0.0.1", "--port", str(self.port)]
        self.spawn([sys.executable, "-m", "prefect", "server", "start", *host], environment)
        self.wait_until(lambda: _ask(f"{self.url}/health") is True)
        return self


class PrefectWorker(ChildProcess):
    """``prefect worker start`` for one pool of a server.

    It runs in its own folder: Prefect puts the working directory first on ``sys.path``, and a
    folder ``flows`` in it would stand in the way of the installed package.
    """

    def __init__(
        self,
        server: PrefectServer,
        pool: str,
        *,
        environment: Mapping[str, str] | None = None,
        worker_type: str = "process",
        query_seconds: float = 0.5,
        limit: int | None = None,
    ) -> None:
        self.worker_name = f"{pool}-{uuid4().hex[:8]}"
        super().__init__(f"worker-{self.worker_name}", server.folder / self.worker_name)
        self.server, self.pool, self.worker_type = server, pool, worker_type
        self.limit = limit
        self.environment = {
            **scrubbed_environment(),
            **server.environment,
            "PREFECT_WORKER_QUERY_SECONDS": str(query_seconds),
            **(environment or {}),
        }

    def start(self) -> Self:
        """Start it and wait until the server has heard of it.

        Raises:
            ConfigurationError: it does not come up (no such pool, for one); the log is quoted.
        """
        command = [*self.program, "--pool", self.pool, "--name", self.worker_name]
        if self.limit is not None:
            command += ["--limit", str(self.limit)]
        self.spawn(command, self.environment)
        self.wait_until(self._is_online)
        return self

    @property
    def program(self) -> list[str]:
        """The command that starts a worker, with what only it takes."""
        prefect = [sys.executable, "-m", "prefect", "worker", "start"]
        return [*prefect, "--type", self.worker_type, "--install-policy", "never"]

    def _is_online(self) -> bool:
        workers = _ask(f"{self.server.url}/work_pools/{self.pool}/workers/filter", {})
        return any(worker["name"] == self.worker_name for worker in workers)


class WarmWorker(PrefectWorker):
    """``ignition worker start`` for one pool of a server.

    Attributes:
        health_port: where it serves its health pages, if it is to.
    """

    health_port: int | None = None

    @property
    def program(self) -> list[str]:
        """The command that starts a warm worker."""
        ignition = [str(Path(sys.executable).with_name("ignition")), "worker", "start"]
        health = [] if self.health_port is None else ["--health-port", str(self.health_port)]
        return [*ignition, *health]

"""The demo's stack: what is missing of a Prefect server, workers, a mail server and an SMSC.

A server named by ``PREFECT_API_URL`` and a database named by ``IGNITION_DATABASE_URL`` are used;
what is not there is started on loopback in a folder of its own, and stopped again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.stack import FAR_AHEAD, ChildProcess, PrefectServer, WarmWorker
from ignition_ext.errors import ConfigurationError

SYSTEM_ID, SMSC_PASSWORD = "ignition", "spark"
"""What the simulator asks for; it listens on loopback only."""
POOLS = ("email", "sms", "default")


class RecordingServer(ChildProcess):
    """One of our recording servers (``capture_smtp``, ``smsc``) in a process of its own."""

    def __init__(self, module: str, folder: Path, *arguments: str) -> None:
        super().__init__(module, folder)
        self.port = free_port()
        self.record = folder / f"{module}.jsonl"
        self._arguments = arguments

    def start(self) -> Self:
        """Start with an empty record and wait until the port answers."""
        self.record.unlink(missing_ok=True)
        command = [sys.executable, "-m", f"ignition_ext.devtools.{self.name}"]
        command += ["--port", str(self.port), "--output", str(self.record), *self._arguments]
        self.spawn(command, os.environ)
        self.wait_until(self._answers, 30)
        return self

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True


class DemoStack:
    """Everything that a campaign needs, as a context: started on entry, stopped on exit.

    Attributes:
        environment: what a command needs to work with this stack.
        mail: the recording mail server.
        smsc: the recording SMSC.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.mail = RecordingServer("capture_smtp", folder)
        self.smsc = RecordingServer(
            "smsc", folder, "--system-id", SYSTEM_ID, "--password", SMSC_PASSWORD
        )
        self._server = PrefectServer(folder, port=port, settings=FAR_AHEAD)
        self._given = os.environ.get("PREFECT_API_URL", "")
        self._started: list[Sequence[ChildProcess]] = []

    @property
    def ui_url(self) -> str:
        """Where a browser finds the Prefect UI."""
        return self._given.removesuffix("/api") or self._server.ui_url

    @property
    def environment(self) -> Mapping[str, str]:
        """What a command needs in its environment to work with this stack."""
        ours = {name: value for name, value in os.environ.items() if name.startswith("IGNITION_")}
        ours.setdefault("IGNITION_DATABASE_URL", f"sqlite:///{self.folder / 'ignition.db'}")
        if self._given:
            prefect = {
                name: value for name, value in os.environ.items() if name.startswith("PREFECT_")
            }
        else:
            prefect = dict(self._server.environment)
        return {**prefect, **ours}

    def run(self, *arguments: str, capture: bool = False) -> str:
        """Run one program of the environment's ``bin``; its progress goes to our stderr.

        Raises:
            ConfigurationError: it ended with another status than 0.
        """
        program, *rest = arguments
        done = subprocess.run(
            [str(Path(sys.executable).parent / program), *rest],
            env={**os.environ, **self.environment, "PREFECT_LOGGING_LEVEL": "WARNING"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ConfigurationError(
                f"`{' '.join(arguments)}` ended with status {done.returncode}.\n{done.stdout}",
                mend=f"Its message stands above; logs are in {self.folder}.",
            )
        if not capture:
            sys.stderr.write(done.stdout)
        return done.stdout

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        missing: Sequence[ChildProcess] = [self.mail, self.smsc]
        if not self._given:
            missing = [self._server, *missing]
        try:
            self._start(missing)
        except BaseException:
            self._stop()
            raise
        return self

    def _start(self, processes: Sequence[ChildProcess]) -> None:
        self._started.append(processes)
        with ThreadPoolExecutor(len(processes)) as pool:
            for future in [pool.submit(process.start) for process in processes]:
                future.result()

    def start_workers(self) -> None:
        """A worker for each pool; the pools must be there (``ignition init``)."""
        workers = [
            WarmWorker(self._worker_server(), pool, environment=self.environment) for pool in POOLS
        ]
        self._start(workers)

    def _worker_server(self) -> PrefectServer:
        if self._given:
            self._server.url = self._given
        return self._server

    def _stop(self) -> None:
        """Stop the workers, then the servers that they speak with; those of a kind at once."""
        while self._started:
            processes = self._started.pop()
            with ThreadPoolExecutor(len(processes)) as pool:
                list(pool.map(lambda process: process.stop(), processes))

    def __exit__(self, *_: object) -> None:
        self._stop()

"""Ignition as an operator runs it, with servers by others at the far side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest
import yaml
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from ignition_ext.devtools.foreign_servers import NodeSmsc, SmtpSink, node_smsc
from ignition_ext.devtools.postgres import new_database
from ignition_ext.devtools.referee import find_program, install_referee
from ignition_ext.devtools.stack import PrefectServer, PrefectWorker, scrubbed_environment
from ignition_ext.errors import ConfigurationError

PATIENCE_SECONDS = 400.0
"""For the longest step, sending 10,000 emails, on a machine that is busy with other things."""
FoundT = TypeVar("FoundT")


class PatientTransport(httpx.HTTPTransport):
    """Asks again while Prefect's SQLite is busy, which it says with 503, as its own client does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, the last one where the server stays busy."""
        for _ in range(60):
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            response.close()
            time.sleep(0.5)
        return super().handle_request(request)


class Site:
    """A database of Ignition's, a Prefect server, and a worker for each pool that is used.

    Attributes:
        api: speaks to the Prefect API as the UI does.
        database_url: Ignition's.
        folder: for this site's files.
    """

    def __init__(self, folder: Path, server: PrefectServer, database_url: str) -> None:
        self.folder, self.server, self.database_url = folder, server, database_url
        self.environment = {
            **scrubbed_environment(),
            **server.environment,
            "IGNITION_DATABASE_URL": database_url,
            "IGNITION_ACTOR": "test",
        }
        self.api = httpx.Client(
            base_url=server.url, transport=PatientTransport(trust_env=False), timeout=30
        )
        self._workers: dict[str, PrefectWorker] = {}
        self._exit = ExitStack()
        self._exit.callback(self.api.close)

    def close(self) -> None:
        """Stop the workers."""
        self._exit.close()

    def worker(self, pool: str) -> PrefectWorker:
        """The worker of this pool, started when it is first asked for."""
        if pool not in self._workers:
            worker = PrefectWorker(self.server, pool, environment=self.environment)
            self._workers[pool] = self._exit.enter_context(worker)
        return self._workers[pool]

    def ignition(self, *arguments: str | Path) -> str:
        """What the command ``ignition`` prints; it has to succeed."""
        done = subprocess.run(
            [Path(sys.executable).with_name("ignition"), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def tenant(self) -> str:
        """A new tenant; its name is no other test's."""
        name = f"acme-{uuid4().hex[:8]}"
        self.ignition("tenant", "create", name, "--timezone", "Europe/Berlin", "--region", "DE")
        return name

    def save(self, block: Block, name: str) -> str:
        """Store a block on the Prefect server."""
        with temporary_settings({PREFECT_API_URL: self.server.url, PREFECT_HOME: self.server.home}):
            block.save(name, _sync=True)  # type: ignore[call-arg]
        return name

    def apply(self, definition: Mapping[str, Any]) -> str:
        """Apply a campaign; returns TENANT/NAME."""
        folder = self.folder / definition["tenant"]
        folder.mkdir(exist_ok=True)
        file = folder / f"{definition['name']}.yaml"
        file.write_text(yaml.safe_dump(dict(definition), allow_unicode=True))
        self.ignition("campaign", "apply", file)
        return f"{definition['tenant']}/{definition['name']}"

    def run(self, campaign: str, pool: str) -> dict[str, Any]:
        """``ignition campaign run TENANT/NAME --wait --json``."""
        self.worker(pool)
        printed = self.ignition("campaign", "run", campaign, "--wait", "--json")
        status: dict[str, Any] = json.loads(printed)
        return status

    def start(self, campaign: str, environment: Mapping[str, str]) -> str:
        """Start a run whose process has more in its environment; returns its flow run's id."""
        name = campaign.replace("/", ".")
        deployment = self.api.get(f"/deployments/name/campaign/{name}").raise_for_status().json()
        created = self.ask(
            f"/deployments/{deployment['id']}/create_flow_run",
            parameters={"parameters": {"campaign": campaign}},
            job_variables={"env": dict(environment)},
        )
        return str(created["id"])

    def messages(self, flow_run_id: str) -> list[dict[str, Any]]:
        """The ledger's messages of a run."""
        printed = self.ignition("messages", "list", "--run", flow_run_id, "--format", "jsonl")
        return [json.loads(line) for line in printed.splitlines()]

    def ask(self, path: str, **body: Any) -> Any:
        """POST to the Prefect API."""
        answer = self.api.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def flow_run(self, flow_run_id: str) -> dict[str, Any]:
        """Prefect's flow run."""
        found: dict[str, Any] = self.api.get(f"/flow_runs/{flow_run_id}").raise_for_status().json()
        return found

    def task_runs(self, flow_run_id: str) -> list[dict[str, Any]]:
        """Prefect's task runs of a flow run; they arrive in the background."""
        chosen = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        found: list[dict[str, Any]] = self.ask("/task_runs/filter", **chosen, limit=200)
        return found

    def log(self, flow_run_id: str) -> str:
        """What the flow wrote into its log so far."""
        chosen = {"flow_run_id": {"any_": [flow_run_id]}}
        return "\n".join(one["message"] for one in self.ask("/logs/filter", logs=chosen, limit=200))

    def retry(self, flow_run_id: str) -> dict[str, Any]:
        """The button Retry of the UI; returns the flow run when its next attempt is over."""
        runs = self.flow_run(flow_run_id)["run_count"]
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        answer = self.ask(f"/flow_runs/{flow_run_id}/set_state", state=state, force=True)
        assert answer["status"] == "ACCEPT"
        return self.ended(flow_run_id, runs=runs + 1)

    def ended(self, flow_run_id: str, *, runs: int = 1) -> dict[str, Any]:
        """The flow run, once it ended after so many attempts."""

        def look() -> dict[str, Any] | None:
            now = self.flow_run(flow_run_id)
            over = now["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
            return now if over and now["run_count"] >= runs else None

        return wait_until(look)


def wait_until(look: Callable[[], FoundT | None], seconds: float = PATIENCE_SECONDS) -> FoundT:
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{look.__qualname__} found nothing in {seconds:g} s")
        time.sleep(0.1)
    return found


@pytest.fixture
def wait() -> Callable[..., Any]:
    """Waits for a condition."""
    return wait_until


@pytest.fixture(scope="module")
def site(
    prefect_server: PrefectServer, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Both Ignition and Prefect on SQLite."""
    folder = tmp_path_factory.mktemp("site")
    path = folder / "ignition.db"
    path.write_bytes(sqlite_template.read_bytes())
    opened = Site(folder, prefect_server, f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def postgres_site(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Ignition and the Prefect server on one PostgreSQL database, set up by ``ignition init``."""
    folder = tmp_path_factory.mktemp("postgres-site")
    with new_database(postgres_url) as url:
        foreign = url.replace("postgresql:", "postgresql+asyncpg:")
        with PrefectServer(folder, database_url=foreign) as server:
            opened = Site(folder, server, url)
            opened.ignition("init")
            yield opened
            opened.close()


def _require(*programs: str) -> None:
    """Skip at home what cannot run there; in CI it has to run."""
    try:
        for program in programs:
            find_program(program)
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{error} {error.mend}")


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SmtpSink]:
    """A foreign mail server that keeps every message."""
    _require("smtp-sink")
    with SmtpSink(tmp_path) as server:
        yield server


@pytest.fixture
def slow_sink(tmp_path: Path) -> Iterator[SmtpSink]:
    """The same, which answers the final dot of each message a second late."""
    _require("smtp-sink")
    with SmtpSink(tmp_path, "-W", ".:1") as server:
        yield server


@pytest.fixture
def smsc(tmp_path: Path) -> Iterator[NodeSmsc]:
    """A foreign SMSC that keeps what it decoded of each submit_sm."""
    _require("node", "npm")
    referee = install_referee(Path(__file__).parents[2] / "referee")
    with node_smsc(referee, tmp_path / "submits.jsonl") as server:
        yield server


@pytest.fixture
def kill_flow_run() -> Callable[[str], int]:
    """Kills whatever runs for a flow run, as a lost node does; says how many processes."""

    def kill(flow_run_id: str) -> int:
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):  # another user's, or gone
                if not folder.name.isdigit():
                    continue
                known = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
                if flow_run_id.encode() in known:
                    found.append(int(folder.name))
        for process in found:
            os.kill(process, signal.SIGKILL)
        return len(found)

    return kill

"""Two nodes on one run: what is lost when one is killed, and what the second is worth.

``python benchmarks/nodes.py [--messages N] [--json FILE]`` (``make nodes``). As root in network
namespaces: each node in its own, and PostgreSQL, the Prefect server and the far side in a third.
Else the nodes are two workers with homes of their own, and the output says so.

* lost sender, lost parent: emails to Debian's ``smtp-sink``, four senders on two nodes. In the
  middle one node is killed: first the one without the run's own flow, then the one with it.
* share: text messages whose block allows each bind, so each sender, some a second; a node has room
  for two flow runs. One node, then two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from node_space import (
    INSIDE,
    SERVERS,
    Node,
    Relays,
    can_have_namespaces,
    metered,
    open_nodes,
    run_inside,
    verdict,
)
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from blocks import SmppGateway, SmtpServer
from ignition_ext.bench.counting import Counts
from ignition_ext.bench.smsc_sink import SinkSession
from ignition_ext.database import Database
from ignition_ext.devtools.foreign_servers import SmtpSink
from ignition_ext.devtools.postgres import PostgresServer, running_postgres
from ignition_ext.devtools.stack import PrefectServer, scrubbed_environment
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.run_rows import run_ref
from ignition_ext.ledger.runs import find_run
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.apply import carry_out, plan
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.senders import run_tag
from ignition_ext.orchestration.setup import prepare_server
from ignition_ext.schema import upgrade
from ignition_ext.templates.store import push
from ignition_ext.tenants import PER_SECOND, create_tenant, set_tenant_setting

ROOT = Path(__file__).resolve().parents[1]
SENDERS, ROOM = 4, 2
"""Senders of a run, and flow runs that a node has room for."""
CONNECTIONS = 5
LEASE_SECONDS = 15
SLOWLY, EMAILS_A_SECOND = 50, 800
"""Of the whole run: until all its senders are there, and from then on, so that it has a middle."""
TEXTS_A_SECOND = 150
"""Of each bind: far below what two processors can do, so that a node is limited by its senders."""
TENANT = "acme"
WAIT_SECONDS = 1_800.0


async def until(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """The first answer that is not empty."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := await look()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        await asyncio.sleep(0.2)
    return found


@dataclass
class Site:
    """What the nodes share."""

    client: PrefectClient
    database: Database
    folder: Path
    host: str
    environment: dict[str, str]
    relays: Relays | None
    messages: int
    rate: float
    deployments: dict[str, UUID] = field(default_factory=dict)

    def show(self, port: int) -> None:
        """Let the nodes reach a port."""
        if self.relays is not None:
            self.relays.show(port)

    async def allow(self, rate: float | None) -> None:
        """Set how many messages a second all may send together."""
        await set_tenant_setting(
            self.database, tenant=TENANT, key=PER_SECOND, value=rate, actor="nodes"
        )

    async def apply(self, name: str, channel: str) -> None:
        """Store one campaign for everybody."""
        file = self.folder / f"{name}.yaml"
        sender = "news@acme.example" if channel == "email" else "Acme"
        file.write_text(
            f"name: {name}\ntenant: {TENANT}\nchannel: {channel}\naudience: {{csv: people.csv}}\n"
            f"template: news\nblock: {channel}\nfrom: {sender}\n"
            f"delivery: {{senders: {SENDERS}, batch: 5000}}\n"
        )
        planned = await plan(self.database, self.client, file, environment="dev")
        assert planned is not None
        done = await carry_out(self.database, self.client, planned, actor="nodes")
        self.deployments[name] = done.deployment_id

    async def start(self, name: str) -> UUID:
        run = await self.client.create_flow_run_from_deployment(
            self.deployments[name], parameters={"parameters": {"campaign": f"{TENANT}/{name}"}}
        )
        return run.id

    def worker(self, node: Node, pool: str, room: int) -> None:
        """Start a worker on a node."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
        command += ["--type", "process", "--name", f"{node.name}-{pool}-{time.time_ns()}"]
        node.spawn([*command, "--limit", str(room)], self.environment)

    async def row(self, flow_run_id: UUID) -> CampaignRun:
        async with self.database.read() as session:
            return await find_run(session, str(flow_run_id))

    async def senders(self, flow_run_id: UUID, state: str) -> int:
        """How many of the run's senders are in this state."""
        tags = FlowRunFilterTags(all_=[run_tag((await self.row(flow_run_id)).id)])
        found = await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))
        return sum(one.state_name == state for one in found)

    async def running(self, flow_run_id: UUID, senders: int) -> None:
        """Wait until so many senders run beside the run's own flow."""

        async def look() -> bool:
            run = await self.client.read_flow_run(flow_run_id)
            if run.state_name != "Running" or run.start_time is None:
                return False
            try:
                return await self.senders(flow_run_id, "Running") >= senders
            except Exception:  # it has not reached the ledger yet
                return False

        await until(look, "the senders did not start")

    async def ended(self, flow_run_id: UUID) -> FlowRun:
        async def look() -> FlowRun | None:
            run = await self.client.read_flow_run(flow_run_id)
            over = run.state is not None and run.state_name in ("Completed", "Failed")
            return run if over else None

        found: FlowRun = await until(look, "the run did not end")
        return found

    async def states(self, flow_run_id: UUID) -> dict[str, str]:
        run = run_ref(await self.row(flow_run_id))
        return {
            row["address"]: str(row["state"])
            async for page in open_ledger(self.database).messages(run.id)
            for row in page
        }


async def lose_a_node(site: Site, nodes: tuple[Node, Node], *, parent: bool) -> dict[str, Any]:
    """Kill a node when half has arrived; count on both sides."""
    name = "lost-parent" if parent else "lost-sender"
    one, two = nodes
    with SmtpSink(site.folder / name) as far:
        site.show(far.port)
        block = SmtpServer(host=site.host, port=far.port, security="none", connections=CONNECTIONS)
        await block.asave("email", overwrite=True, client=site.client)
        await site.apply(name, "email")
        await site.allow(SLOWLY)
        site.worker(one, "email", ROOM)
        flow_run_id = await site.start(name)
        await site.running(flow_run_id, senders=ROOM - 1)
        site.worker(two, "email", ROOM)
        site.worker(two, "default", 1)
        await site.running(flow_run_id, senders=SENDERS - 1)
        await site.allow(EMAILS_A_SECOND)

        async def half() -> bool:
            return await asyncio.to_thread(far.count) >= site.messages // 2

        await until(half, "the middle did not come")
        before, killed_at = far.count(), time.monotonic()
        killed = (one if parent else two).kill()
        if not parent:
            site.worker(one, "default", 1)
        latest = await _last_arrival(far, site, flow_run_id)
        run = await site.ended(flow_run_id)
        closed_after = time.monotonic() - killed_at
        taken = Counter(one.recipient for one in far.taken())
    for node in nodes:
        node.kill()
    states = await site.states(flow_run_id)
    sent = {address for address, state in states.items() if state == "sent"}
    uncertain = {address for address, state in states.items() if state == "uncertain"}
    return {
        "run": name,
        "state": run.state_name,
        "message": run.state.message if run.state else "",
        "messages": len(states),
        "killed_at": before,
        "killed_processes": killed,
        "far": sum(taken.values()),
        "far_distinct": len(taken),
        "doubled": sum(count > 1 for count in taken.values()),
        "sent": len(sent),
        "uncertain": len(uncertain),
        "sent_and_never_arrived": len(sent - set(taken)),
        "lost": len(states) - len(sent) - len(uncertain),
        "last_arrival_after_s": round(latest - killed_at, 1),
        "closed_after_s": round(closed_after, 1),
        "lease_s": LEASE_SECONDS,
    }


async def _last_arrival(far: SmtpSink, site: Site, flow_run_id: UUID) -> float:
    """When the last message came: nothing is open in the ledger then."""
    ledger = open_ledger(site.database)
    run = run_ref(await site.row(flow_run_id))
    seen, at = 0, time.monotonic()
    while await ledger.is_open(run):
        if (count := await asyncio.to_thread(far.count)) > seen:
            seen, at = count, time.monotonic()
        await asyncio.sleep(0.5)
    return at


async def share(site: Site, nodes: tuple[Node, Node], *, number: int) -> dict[str, Any]:
    """How long the same run takes on so many nodes."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(
        lambda: SinkSession(counts, 0), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    site.show(port)
    block = SmppGateway(
        host=site.host, port=port, system_id="ignition", binds=SENDERS, rate=site.rate
    )
    await block.asave("sms", overwrite=True, client=site.client)
    name = f"share-{number}"
    await site.allow(None)
    await site.apply(name, "sms")
    for node in nodes[:number]:
        site.worker(node, "sms", ROOM)
    await asyncio.sleep(15)  # what a worker's start costs is not the question
    with metered(lambda: counts.messages) as best:
        flow_run_id = await site.start(name)
        run = await site.ended(flow_run_id)
    row = await site.row(flow_run_id)
    server.close()
    for node in nodes:
        node.kill()
    assert row.started_at is not None
    assert row.ended_at is not None
    return {
        "run": name,
        "nodes": number,
        "state": run.state_name,
        "message": run.state.message if run.state else "",
        "far": counts.messages,
        "far_distinct": len(counts.recipients),
        "best_rate": best(),
        "seconds": round((row.ended_at - row.started_at).total_seconds(), 1),
    }


@contextmanager
def open_servers(folder: Path) -> Iterator[tuple[PostgresServer, PrefectServer]]:
    """PostgreSQL, and a Prefect server on it."""
    with ExitStack() as exit:
        postgres = exit.enter_context(running_postgres())
        ours = postgres.url.replace("postgresql://", "postgresql+asyncpg://")
        yield postgres, exit.enter_context(PrefectServer(folder, database_url=ours))


async def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything, one after the other."""
    space = os.environ.get(INSIDE)
    host = SERVERS if space else "127.0.0.1"
    found: dict[str, Any] = {
        "nodes": "network namespaces" if space else "homes on one network: no namespaces here",
        "messages": options.messages,
        "senders": SENDERS,
        "room_of_a_node": ROOM,
        "runs": [],
    }
    with open_servers(folder) as (postgres, server), open_nodes(folder, space) as nodes:
        relays = Relays() if space else None
        if relays is not None:
            relays.show(postgres.port)
            relays.show(server.port)
        os.environ["IGNITION_DATABASE_URL"] = postgres.url
        environment = scrubbed_environment() | {
            "PREFECT_API_URL": server.url.replace("127.0.0.1", host),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "IGNITION_DATABASE_URL": postgres.url.replace("127.0.0.1", host),
            "IGNITION_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        database = Database(postgres.url)
        await upgrade(database)
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}):
            async with prefect_client() as client:
                given = (relays, options.messages, options.rate)
                site = Site(client, database, folder, host, environment, *given)
                await _prepare(site, server)
                if "lose" in options.parts:
                    for parent in (False, True):
                        found["runs"].append(await lose_a_node(site, nodes, parent=parent))
                        _say(found["runs"][-1])
                if "share" in options.parts:
                    times = []
                    for number in (1, 2):
                        found["runs"].append(await share(site, nodes, number=number))
                        times.append(found["runs"][-1]["seconds"])
                        _say(found["runs"][-1])
                    found["share_of_two"] = round(times[1] / times[0], 3)
        await database.close()
    return found


async def _prepare(site: Site, server: PrefectServer) -> None:
    await create_tenant(site.database, name=TENANT, region="DE", actor="nodes")
    template = site.folder / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News for {{ name }}")
    (template / "body.txt").write_text("Hello {{ name }}")
    (template / "sms.txt").write_text("Hello {{ name }}")
    await push(site.database, tenant=TENANT, folder=template, actor="nodes", publish=True)
    rows = (
        f"p{number}@example.com,+49151{20_000_000 + number},P{number}"
        for number in range(site.messages)
    )
    (site.folder / "people.csv").write_text("\n".join(["email,phone,name", *rows, ""]))
    await prepare_server(site.client)
    shutil.copy(ROOT / "prefect.yaml", site.folder)
    deploying = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
        cwd=site.folder,
        env=scrubbed_environment() | server.environment,
        stdout=subprocess.DEVNULL,
    )
    if await deploying.wait():
        raise SystemExit("prefect deploy --all failed")


def _say(run: dict[str, Any]) -> None:
    sys.stderr.write(f"{json.dumps(run)}\n")


def main() -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=TEXTS_A_SECOND, help="of each bind")
    parser.add_argument("--parts", nargs="+", default=["lose", "share"], choices=["lose", "share"])
    parser.add_argument(
        "--homes", action="store_true", help="no namespaces, also where they can be"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    if INSIDE not in os.environ and not options.homes and can_have_namespaces():
        return run_inside([str(Path(__file__).resolve()), *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="ignition-nodes-") as folder:
        Path(folder).chmod(0o755)
        found = asyncio.run(measure(Path(folder), options))
    found["wrong"] = verdict(found, uncertain=ROOM * 2 * CONNECTIONS)
    shown = json.dumps(found, indent=2)
    sys.stdout.write(f"{shown}\n")
    if options.json is not None:
        options.json.write_text(f"{shown}\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""Chains of campaigns on a real Prefect server: what ends lets go what comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page, expect
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_engine import run_flow
from prefect.states import Cancelled
from sqlmodel import select

from blocks import SmtpServer
from flows.campaign import campaign
from ignition_ext.campaigns import store
from ignition_ext.campaigns.chain import RunEnd
from ignition_ext.campaigns.chain_store import EndedRun
from ignition_ext.campaigns.chain_turn import decide
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.errors import ConflictError
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration.apply import delete
from ignition_ext.orchestration.chains import let_go_pending
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.deployments import (
    campaign_deployment,
    deployment_name,
    ensure_deployment,
    find_deployment,
)
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant

pytestmark = pytest.mark.timeout(600)
PATIENCE_MS = 90_000
"""For the UI, on a machine that does much else."""
Command = Any

FILE = """\
name: {name}
tenant: {tenant}
channel: email
audience: {{csv: people.csv}}
template: news
block: {tenant}-{block}
from: "Acme <news@acme.example>"
after: {after}
"""


class Chain:
    """A tenant with campaigns that come after each other."""

    def __init__(self, database: Database, client: PrefectClient, folder: Path, tenant: str):
        self.database, self.client, self.folder, self.tenant = database, client, folder, tenant

    def write(self, name: str, after: str = "[]", block: str = "mail") -> Path:
        file = self.folder / f"{name}.yaml"
        text = after.replace("T/", f"{self.tenant}/")
        file.write_text(FILE.format(name=name, tenant=self.tenant, after=text, block=block))
        return file

    async def apply(self, name: str, *after: Any, block: str = "mail") -> None:
        definition = CampaignDefinition.model_validate(
            {
                "name": name,
                "tenant": self.tenant,
                "channel": "email",
                "audience": {"csv": "people.csv"},
                "template": "news",
                "block": f"{self.tenant}-{block}",
                "from": "Acme <news@acme.example>",
                "after": [
                    {**parent, "campaign": f"{self.tenant}/{parent['campaign']}"}
                    for parent in after
                ],
            }
        )
        applied = await store.apply(self.database, definition, base_path=self.folder, actor="test")
        ensured = await ensure_deployment(
            self.client, campaign_deployment(definition, timezone="UTC")
        )
        async with self.database.write() as session:
            await store.set_deployment(session, applied.campaign_id, ensured.id)

    async def start(self, name: str, **parameters: Any) -> FlowRun:
        deployment = await find_deployment(self.client, deployment_name(f"{self.tenant}/{name}"))
        assert deployment is not None
        said = {"campaign": f"{self.tenant}/{name}", **parameters}
        return await self.client.create_flow_run_from_deployment(
            deployment.id, parameters={"parameters": said}
        )

    async def runs(self) -> dict[str, FlowRun]:
        """Each campaign's only run, in the order of the UI's timeline."""
        found = await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[f"tenant:{self.tenant}"])),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        )
        names = [run.parameters["parameters"]["campaign"].partition("/")[2] for run in found]
        assert len(set(names)) == len(names)
        return dict(zip(names, found, strict=True))

    async def work(self, *names: str) -> None:
        """What a worker does, in this process."""
        for name in names:
            run = (await self.runs())[name]
            said = CampaignParameters.model_validate(run.parameters["parameters"])
            await run_flow(
                campaign, flow_run=run, parameters={"parameters": said}, return_type="state"
            )  # type: ignore[misc]

    async def ledger(self) -> dict[str, str]:
        async with self.database.read() as session:
            rows = await session.exec(select(CampaignRun))
            return {row.flow_run_name.split()[0].partition("/")[2]: row.state for row in rows}


@pytest.fixture
async def chain(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tmp_path: Path,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Chain]:
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("News for {{ name }}")
    (template / "body.txt").write_text("Hello {{ name }}")
    (tmp_path / "people.csv").write_text("email,name\nann@people.example,Ann\n")
    database = Database(sqlite_database_url)
    await create_tenant(database, name=tenant_name, actor="test")
    await push(database, tenant=tenant_name, folder=template, actor="test", publish=True)
    async with prefect_client() as client:
        yield Chain(database, client, tmp_path, tenant_name)
    await database.close()


async def test_a_chain_of_five_with_a_branch_a_failure_and_a_delay(
    chain: Chain, prefect: PrefectServer, async_page: Page, request: pytest.FixtureRequest
) -> None:
    """Each campaign has one run, begun when the ones before it had ended as wished, or skipped."""
    await chain.apply("first")
    await chain.apply("left", {"campaign": "first"})
    await chain.apply("right", {"campaign": "first"}, block="nowhere")
    await chain.apply("both", {"campaign": "left"}, {"campaign": "right"})
    await chain.apply("later", {"campaign": "left", "delay": "30m"})
    async with CaptureSmtpServer() as smtp:
        await SmtpServer(host="127.0.0.1", port=smtp.port, security="none").asave(
            f"{chain.tenant}-mail"
        )
        await chain.start("first")
        await chain.work("first")
        # Both are let go at once: which of them Prefect lists first is chance.
        assert set(await chain.runs()) == {"first", "left", "right"}
        await chain.work("left", "right")

    runs = await chain.runs()
    assert {name: run.state_name for name, run in runs.items()} == {
        "first": "Completed",
        "left": "Completed",
        "right": "Failed",
        "both": "Skipped",
        "later": "Scheduled",
    }
    assert next(iter(runs)) == "first"
    assert list(runs)[-2:] == ["both", "later"]
    reason = runs["both"].state.message if runs["both"].state else None
    assert reason is not None
    assert reason.startswith(f"{chain.tenant}/right failed (NotFoundError: ")
    due = runs["later"].expected_start_time
    left = runs["left"].end_time
    assert due is not None
    assert left is not None
    assert due - left >= timedelta(minutes=30)
    # Its tag shows a chain's runs together; the first one's own is the one that began it.
    (tag,) = {tag for name, run in runs.items() for tag in run.tags if tag.startswith("chain:")}
    assert tag == f"chain:{runs['first'].id.hex[-8:]}"
    assert await chain.ledger() == {"first": "completed", "left": "completed", "both": "skipped"}
    assert len(smtp.messages) == 2
    shown = await shown_runs(async_page, prefect.ui_url, chain.tenant, request)
    assert [shown[0], shown[-1]] == [f"{chain.tenant}/{name}" for name in ("both", "first")]
    assert set(shown[1:-1]) == {f"{chain.tenant}/{name}" for name in ("left", "right")}


async def shown_runs(
    page: Page, ui_url: str, tenant: str, request: pytest.FixtureRequest
) -> list[str]:
    """The campaigns of a tenant's runs that have begun, as the UI lists them: the newest first."""
    await page.goto(f"{ui_url}/runs")
    search = page.get_by_placeholder("Search by flow run name").locator("visible=true")
    await search.first.fill(tenant)
    links = page.locator("a[href*='/runs/flow-run/']")
    await expect(links).to_have_count(4, timeout=PATIENCE_MS)
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        await page.screenshot(path=Path(folder) / "chain.png")
    return [text.split()[0] for text in await links.all_inner_texts()]


async def test_what_no_hook_saw_is_made_up_for(chain: Chain) -> None:
    """A run that was cancelled before a worker began, and a decision that Prefect was not told."""
    await chain.apply("first")
    await chain.apply("second", {"campaign": "first"})
    await chain.apply("third", {"campaign": "second", "on": "any"})
    run = await chain.start("first")
    await chain.client.set_flow_run_state(run.id, Cancelled(message="not today"), force=True)
    assert list(await chain.runs()) == ["first"]

    done = await let_go_pending(chain.database, chain.client)
    runs = await chain.runs()
    assert (runs["second"].state_name, runs["third"].state_name) == ("Skipped", "Scheduled")
    assert done[f"{chain.tenant}/second"].startswith("skipped: ")
    assert await let_go_pending(chain.database, chain.client) == {}
    assert await chain.runs() == runs

    ended = EndedRun(campaign=f"{chain.tenant}/first", flow_run_id=uuid4(), end=RunEnd.COMPLETED)
    await decide(chain.database, ended)
    done = await let_go_pending(chain.database, chain.client)
    assert list(done) == [f"{chain.tenant}/second"]
    assert done[f"{chain.tenant}/second"].startswith("due ")


async def test_trials_and_dry_runs_let_nothing_go(chain: Chain) -> None:
    """Of a few messages nobody concludes that the next campaign may go to everyone."""
    await chain.apply("first", block="nowhere")
    await chain.apply("second", {"campaign": "first", "on": "any"})
    await chain.start("first", limit=1)
    await chain.work("first")

    assert list(await chain.runs()) == ["first"]
    assert await let_go_pending(chain.database, chain.client) == {}


async def test_a_paused_campaign_is_skipped(chain: Chain) -> None:
    """Whoever paused its deployment did not mean it to run after others either."""
    await chain.apply("first", block="nowhere")
    await chain.apply("second", {"campaign": "first", "on": "any"})
    deployment = await find_deployment(chain.client, f"{chain.tenant}.second")
    assert deployment is not None
    await chain.client.pause_deployment(deployment.id)
    await chain.start("first")
    await chain.work("first")

    run = (await chain.runs())["second"]
    assert run.state is not None
    assert (run.state_name, run.state.message) == (
        "Skipped",
        f"{chain.tenant}/second is paused",
    )


async def test_files_of_a_chain_are_applied_in_any_order(
    chain: Chain, ignition_here: Command
) -> None:
    """Parents first; what is unknown or goes in a circle is refused before anything is done."""
    await SmtpServer(host="127.0.0.1", port=25, security="none").asave(f"{chain.tenant}-mail")
    last = chain.write("last", "[T/middle]")
    middle = chain.write("middle", "[{campaign: T/first, on: any, delay: 1h}]")
    first = chain.write("first", "[T/last]")

    async def ignition(*arguments: Any) -> Any:
        return await asyncio.to_thread(ignition_here, *arguments)

    circle = await ignition("campaign", "apply", last, middle, first)
    assert circle.code == 1
    t = chain.tenant
    assert f"{t}/last -> {t}/first -> {t}/middle -> {t}/last" in circle.err
    unknown = await ignition("campaign", "apply", last)
    assert unknown.code == 1
    assert f"last.yaml:8: after.0: there is no campaign {t}/middle." in unknown.err

    chain.write("first")
    done = await ignition("campaign", "apply", last, middle, first, "--json")
    assert [row["campaign"] for row in done.document] == [
        f"{t}/{name}" for name in ("first", "middle", "last")
    ]
    graph = await ignition("campaign", "graph", f"{t}/first", "--json")
    assert graph.document["edges"] == [
        {"parent": f"{t}/middle", "child": f"{t}/last", "on": "completed", "delay": None},
        {"parent": f"{t}/first", "child": f"{t}/middle", "on": "any", "delay": "1h"},
    ]
    drawn = await ignition("campaign", "graph", t, "--format", "dot")
    assert f'"{t}/first" -> "{t}/middle" [label="on any +1h"];' in drawn.out
    with pytest.raises(ConflictError, match=f"{t}/last comes after {t}/middle"):
        await delete(chain.database, chain.client, f"{t}/middle", actor="test")

"""Fixtures for tests against a real Prefect server and real workers."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page as AsyncPage
from playwright.async_api import async_playwright
from playwright.sync_api import Browser, Page, expect, sync_playwright
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from ignition_ext.cli import main
from ignition_ext.cli.demo import prepare
from ignition_ext.devtools.demo_stack import DemoStack
from ignition_ext.devtools.postgres import new_database
from ignition_ext.devtools.stack import PrefectServer, scrubbed_environment
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.setup import prepare_server


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Stdout as the one JSON document that it has to be."""
        return json.loads(self.out)


Command = Callable[..., Finished]

BROWSER_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
BROWSER_PATIENCE_MS = 90_000
"""A loaded machine takes its time to draw a page; an idle one needs two seconds."""
TIMEOUT_SECONDS = 600
"""The first test of a process waits for the server too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share the Prefect server run in one process, or each process would start one.

    A flow that runs in the test's own process leaves sockets of Prefect's client to the garbage
    collector: that is no leak of ours, and `collected` keeps it out of the tests after it.
    """
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
        if item.path.parent.name == "foreign":
            item.add_marker(pytest.mark.xdist_group("foreign"))
        elif isinstance(item, pytest.Function) and "prefect_server" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("prefect"))
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What Prefect's client left open is closed before the next test."""
    yield
    gc.collect()


@pytest.fixture(scope="package")
def prefect_server(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectServer]:
    """A Prefect server on PostgreSQL with Ignition's block types and work pools.

    On SQLite, where the demo's is, it refuses requests while many runs come and go. It ends with
    the last of these tests: an idle one takes a tenth of a core from others.
    """
    with new_database(postgres_url) as url:
        database_url = url.replace("postgresql:", "postgresql+asyncpg:")
        with PrefectServer(tmp_path_factory.mktemp("prefect"), database_url=database_url) as server:

            async def prepare() -> None:
                async with prefect_client() as client:
                    await prepare_server(client)

            with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}):
                asyncio.run(prepare())
            yield server


@pytest.fixture
def prefect(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PrefectServer]:
    """The shared server, named by this process's settings and environment."""
    for name, value in prefect_server.environment.items():
        monkeypatch.setenv(name, value)
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.url, PREFECT_HOME: prefect_server.home}
    ):
        yield prefect_server


@pytest.fixture
def tenant_name() -> str:
    """A name that no other test uses: the Prefect server is shared."""
    return f"acme-{uuid4().hex[:8]}"


@pytest.fixture
def ignition(tmp_path: Path) -> Command:
    """Runs the command ``ignition`` as an operator does, in a process and folder of its own."""
    environment = {
        **scrubbed_environment(),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "IGNITION_ACTOR": "test",
        "COLUMNS": "200",
    }

    def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Finished:
        named = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PREFECT_", "IGNITION_"))
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ignition")), *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **named, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="package")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoStack]:
    """The demo's stack with both sample campaigns applied; its tests share the group "demo"."""
    with pytest.MonkeyPatch.context() as patch, DemoStack(tmp_path_factory.mktemp("demo")) as demo:
        for name in list(os.environ):
            if name.startswith(("IGNITION_", "PREFECT_")):
                patch.delenv(name)
        patch.chdir(Path(__file__).parents[2])
        prepare(demo, None)
        yield demo


@pytest.fixture
def ignition_here(capsys: pytest.CaptureFixture[str]) -> Command:
    """The same command in this process: for tables of cases, where starting Python is the cost."""

    def run(*arguments: str | Path) -> Finished:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        code = ended.value.code
        assert isinstance(code, int)
        printed = capsys.readouterr()
        return Finished(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Chromium for tests that are no coroutines."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(BROWSER_FLAGS))
        yield opened
        opened.close()


@pytest.fixture
async def async_page(chromium: str) -> AsyncIterator[AsyncPage]:
    """A tab for tests that are coroutines."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=chromium, args=list(BROWSER_FLAGS), timeout=BROWSER_PATIENCE_MS
        )
        page = await opened.new_page(viewport={"width": 1440, "height": 1400})
        page.set_default_timeout(BROWSER_PATIENCE_MS)
        page.set_default_navigation_timeout(BROWSER_PATIENCE_MS)
        yield page
        await opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh tab."""
    opened = browser.new_page(viewport={"width": 1440, "height": 1000})
    opened.set_default_timeout(BROWSER_PATIENCE_MS)
    expect.set_options(timeout=BROWSER_PATIENCE_MS)
    yield opened
    opened.close()

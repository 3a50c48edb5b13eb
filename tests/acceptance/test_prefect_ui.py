"""What an operator sees: a finished run in the Prefect UI, in headless Chromium."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ignition_ext.devtools.demo_stack import DemoStack

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]


@pytest.fixture(scope="module")
def finished(demo_stack: DemoStack) -> dict[str, Any]:
    """The status of a finished run of the newsletter."""
    printed = demo_stack.run(
        "ignition", "campaign", "run", "acme/newsletter", "--wait", "--json", capture=True
    )
    status: dict[str, Any] = json.loads(printed)
    return status


def test_a_finished_run_shows_its_story(
    demo_stack: DemoStack, finished: dict[str, Any], page: Page, request: pytest.FixtureRequest
) -> None:
    """The run has a name, tags and a log that says what happened."""
    page.goto(f"{demo_stack.ui_url}/runs/flow-run/{finished['flow_run_id']}")

    expect(
        page.get_by_text(re.compile(r"^acme/newsletter \d{4}-\d\d-\d\d \d\d:\d\d$"))
    ).to_be_visible()
    for text in ("Completed", "tenant:acme", "channel:email", "campaign:newsletter"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"963 sent")).first).to_be_visible()
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        page.wait_for_timeout(2000)  # the timeline fades in; only for the picture
        page.screenshot(path=Path(folder) / "run.png")


def test_the_report_shows_its_chart(
    demo_stack: DemoStack, finished: dict[str, Any], page: Page, request: pytest.FixtureRequest
) -> None:
    """Tab Artifacts leads to the progress and to a report whose chart is really drawn."""
    page.goto(f"{demo_stack.ui_url}/runs/flow-run/{finished['flow_run_id']}")
    page.get_by_text("Artifacts", exact=True).first.click()

    expect(page.get_by_text("progress-acme-newsletter").last).to_be_visible()
    page.get_by_role("link", name="report-acme-newsletter").last.click()
    chart = page.locator("img[src^='data:image/svg+xml']")
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.complete && image.naturalWidth") > 300
    expect(page.get_by_text("acme/newsletter: 963 sent")).to_be_visible()
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        page.screenshot(path=Path(folder) / "report.png")


def test_the_parameters_are_a_form(
    demo_stack: DemoStack, finished: dict[str, Any], page: Page, request: pytest.FixtureRequest
) -> None:
    """A custom run asks for the parameters by title, with the campaign filled in."""
    page.goto(f"{demo_stack.ui_url}/runs/flow-run/{finished['flow_run_id']}")
    page.get_by_role("link", name="acme.newsletter").first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").first.click()

    for title in ("Campaign", "Limit (Optional)", "Dry run (Optional)"):
        expect(page.get_by_text(title, exact=True)).to_be_visible()
    expect(page.locator("textarea").first).to_have_value("acme/newsletter")
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        page.screenshot(path=Path(folder) / "form.png")

"""A run in steps that stops by itself is decided in the Prefect UI, and goes on to its end."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ignition_ext.devtools.demo_stack import DemoStack

pytestmark = [pytest.mark.timeout(1200), pytest.mark.xdist_group("demo")]

PEOPLE, REFUSED, FIRST = 1000, 60, 500
"""6 % are refused. Of 500 drawn, 30 are, give or take 4 a sigma; 2 % would be 10."""
ATTEMPTS = 5
"""Prefect on SQLite may refuse what is asked while it writes something else: one asks again."""
CAMPAIGN = f"""\
name: careful
tenant: acme
channel: email
audience: {{csv: people.csv}}
template: careful
block: acme-mail
from: news@acme.example
delivery:
  ramp: [{FIRST}, 80%, 100%]
  ramp_wait: 1s
  stop_if: {{failed: 2%, bounced: 2%}}
"""


@pytest.fixture
def campaign(demo_stack: DemoStack, tmp_path: Path) -> str:
    """A campaign in steps whose audience has 6 % that the far side refuses."""
    template = tmp_path / "careful"
    template.mkdir()
    (template / "subject.txt").write_text("Hello {{ first_name }}")
    (template / "body.txt").write_text("Hello {{ first_name }}, this goes out in steps.")
    with (tmp_path / "people.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["email", "first_name"])
        for number in range(PEOPLE):
            # All of them at the head of the file: a step that took it would have nothing else.
            local = f"reject-550.{number}" if number < REFUSED else f"person{number}"
            writer.writerow([f"{local}@there.example", f"N{number}"])
    file = tmp_path / "careful.yaml"
    file.write_text(CAMPAIGN)
    demo_stack.run("ignition", "template", "push", str(template), "--tenant", "acme", "--publish")
    demo_stack.run("ignition", "campaign", "apply", str(file))
    return "acme/careful"


def happens(look: Callable[[], Any], seconds: float) -> Any:
    """What ``look`` returns when it is true; else its last word when the time is over."""
    end = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def wait_until(look: Callable[[], Any], seconds: float = 400) -> Any:
    """What ``look`` returns when it is true."""
    found = happens(look, seconds)
    assert found, "it did not happen in time"
    return found


def approve(page: Page, note: str, look: Callable[[], None]) -> None:
    """Press Resume, say continue with a note, and submit; ``look`` comes before the last."""
    page.get_by_role("button", name="Resume", exact=True).click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("acme/careful").first).to_be_visible()
    form.locator(".p-select-button__icon").first.click()
    page.get_by_role("option", name="continue").click()
    form.locator("textarea").first.fill(note)
    look()
    form.get_by_role("button", name="Submit").click()


def shoot(page: Page, request: pytest.FixtureRequest, name: str) -> None:
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        page.wait_for_timeout(1500)  # pages fade in; only for the picture
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_run_that_stopped_is_approved_in_the_ui(
    demo_stack: DemoStack, campaign: str, page: Page, request: pytest.FixtureRequest
) -> None:
    """6 % refused: it stops after its first step, asks, and sends the rest when told to."""

    def status(run: str) -> Any:
        printed = demo_stack.run("ignition", "campaign", "status", run, "--json", capture=True)
        return json.loads(printed)

    started = demo_stack.run("ignition", "campaign", "run", campaign, "--json", capture=True)
    run = json.loads(started)["flow_run_id"]
    stopped = wait_until(lambda: (now := status(run))["prefect_state"] == "Suspended" and now)

    assert stopped["state"] == "paused"
    counts = stopped["counts"]
    assert counts["sent"] + counts["failed"] == FIRST
    assert counts["pending"] == PEOPLE - FIRST
    assert (stopped["steps"]["step"], stopped["steps"]["of"]) == (1, 3)
    assert re.fullmatch(
        rf"{counts['failed']} of {FIRST} failed \(.* %, at 2%\)", stopped["steps"]["reason"]
    )

    page.goto(f"{demo_stack.ui_url}/runs/flow-run/{run}")
    expect(page.get_by_text("Suspended", exact=True).first).to_be_visible()
    shoot(page, request, "stopped")
    for _ in range(ATTEMPTS):
        approve(page, "Eva: their list, they know", lambda: shoot(page, request, "approval"))
        if happens(lambda: status(run)["prefect_state"] != "Suspended", 60):
            break
        page.reload()
    ended = wait_until(lambda: (now := status(run))["prefect_state"] == "Completed" and now)

    assert {state: count for state, count in ended["counts"].items() if count} == {
        "sent": PEOPLE - REFUSED,
        "failed": REFUSED,
        "total": PEOPLE,
    }
    assert ended["steps"]["step"] == 3
    assert arrived(demo_stack) == {f"person{number}" for number in range(REFUSED, PEOPLE)}
    assert decisions(demo_stack, ended["run_id"]) == [
        ("ignition", "run.stopped", None),
        ("prefect", "run.approved", "Eva: their list, they know"),
    ]
    page.goto(f"{demo_stack.ui_url}/runs/flow-run/{run}")
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_role("link", name="stop-acme-careful").last.click()
    expect(page.get_by_text("What went wrong")).to_be_visible()
    shoot(page, request, "stop-report")


def arrived(stack: DemoStack) -> set[str]:
    """Who of this audience got a letter; one who got two is named."""
    found = [
        recipient.partition("@")[0]
        for line in stack.mail.record.read_text().splitlines()
        for recipient in json.loads(line).get("recipients", [])
        if recipient.endswith("@there.example")
    ]
    assert len(found) == len(set(found))
    return set(found)


def decisions(stack: DemoStack, run: str) -> list[tuple[str, str, str | None]]:
    """Who stopped and approved the run, by the audit log."""
    printed = stack.run("ignition", "audit", "tail", "--json", "--lines", "500", capture=True)
    return [
        (row["actor"], row["action"], row["after"].get("note"))
        for row in json.loads(printed)
        if row["subject"] == f"run:{run}" and row["action"] in ("run.stopped", "run.approved")
    ]

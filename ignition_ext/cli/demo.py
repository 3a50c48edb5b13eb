"""``ignition demo`` and ``ignition up``: the whole product on loopback, from a clone."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from ignition_ext.cli.output import note, out, print_table
from ignition_ext.devtools.demo_report import Check, check_mail, check_sms, first_mail, first_text
from ignition_ext.devtools.demo_stack import SMSC_PASSWORD, SYSTEM_ID, DemoStack
from ignition_ext.errors import ConfigurationError

FOLDER = Path(".ignition")
SAMPLE = Path("deployments/acme")
UP_PORT = 4200
_ENDS = ("campaign", "total", "a second")
CAMPAIGNS = ("acme/newsletter", "acme/reminder")


def _interrupt(_number: int, _frame: object) -> None:
    """SIGTERM ends like Ctrl-C: what was started is stopped on the way out."""
    raise KeyboardInterrupt


def _require_checkout() -> None:
    if not (Path("prefect.yaml").is_file() and SAMPLE.is_dir()):
        raise ConfigurationError(
            f"there is no prefect.yaml and {SAMPLE} in {Path.cwd()}.",
            mend="Run the demo in a clone of Ignition: cd there first.",
        )


def _tenant_exists(stack: DemoStack) -> bool:
    tenants = json.loads(stack.run("ignition", "tenant", "list", "--json", capture=True))
    return any(tenant["name"] == "acme" for tenant in tenants)


def prepare(stack: DemoStack, recipients: int | None) -> None:
    """Everything up to a campaign that can be run; each step is a command anyone can type."""

    def say(*arguments: str) -> None:
        note(f"$ {' '.join(arguments)}")
        stack.run(*arguments)

    say("ignition", "init")
    with ThreadPoolExecutor(1) as background:
        workers = background.submit(stack.start_workers)
        _fill(stack, recipients, say)
        workers.result()


def _fill(stack: DemoStack, recipients: int | None, say: Callable[..., None]) -> None:
    if not _tenant_exists(stack):
        say("ignition", "tenant", "create", "acme", "--title", "Acme", "--timezone",
            "Europe/Berlin", "--region", "DE")  # fmt: skip
    note("$ prefect --no-prompt deploy --all")
    stack.run("prefect", "--no-prompt", "deploy", "--all", capture=True)
    stack.run("python", "-m", "ignition_ext.devtools.demo_blocks", str(stack.mail.port),
        str(stack.smsc.port), SYSTEM_ID, SMSC_PASSWORD)  # fmt: skip
    say("ignition", "template", "push", str(SAMPLE / "templates"), "--tenant", "acme", "--publish")
    audience = str(SAMPLE / "customers.csv")
    if recipients is not None:
        from ignition_ext.devtools.generated_audience import write_audience

        path = stack.folder / "customers.csv"
        write_audience(path, recipients)
        audience = str(path)
    say("ignition", "audience", "import", audience, "--tenant", "acme", "--name", "customers",
        "--rejects", str(stack.folder / "customers.rejects.csv"))  # fmt: skip
    say("ignition", "campaign", "apply", *(str(path) for path in sorted(SAMPLE.glob("*.yaml"))))


def _run(stack: DemoStack, campaign: str) -> dict[str, Any]:
    command = ("ignition", "campaign", "run", campaign, "--wait", "--json")
    note(f"$ {' '.join(command[:-1])}")
    status: dict[str, Any] = json.loads(stack.run(*command, capture=True))
    return status


def _messages(stack: DemoStack, run: str) -> list[dict[str, Any]]:
    listing = stack.run(
        "ignition", "messages", "list", "--run", run, "--format", "jsonl", capture=True
    )
    return [json.loads(line) for line in listing.splitlines()]


def _report(stack: DemoStack, statuses: dict[str, dict[str, Any]], checks: list[Check]) -> None:
    rows = [
        {
            "campaign": campaign,
            **{name: count for name, count in status["counts"].items() if count},
            "a second": round(status["rate"] or 0, 1),
        }
        for campaign, status in statuses.items()
    ]
    states = dict.fromkeys(name for row in rows for name in row)
    columns = ["campaign", *(state for state in states if state not in _ENDS), "total", "a second"]
    print_table(rows, *columns, title="What the ledger says")
    out.print("\n[bold]First email as it arrived[/bold]")
    out.print(first_mail(stack.mail.record), markup=False)
    out.print("\n[bold]First SMS as it arrived[/bold]")
    out.print(first_text(stack.smsc.record), markup=False)
    out.print()
    for check in checks:
        mark = "✓" if check.holds else "✗"
        out.print(f"{mark} {check.text}", markup=False, soft_wrap=True)
    out.print(f"\nRuns in the Prefect UI: {stack.ui_url}/runs", markup=False)


def demo(
    *,
    recipients: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1_000_000))] = None,
) -> int:
    """Run an email and an SMS campaign through a real Prefect server, and compare what arrived.

    Starts what is missing on loopback and stops it again; what an earlier demo left is removed.
    Exit 0 only if every message is accounted for and the mail server and the SMSC hold exactly
    what the ledger says.

    Args:
        recipients: Size of a generated audience; by default the sample's 1,000.
    """
    _require_checkout()
    signal.signal(signal.SIGTERM, _interrupt)
    folder = FOLDER.resolve() / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    note("Starting a Prefect server, a mail server and an SMSC on loopback …")
    with DemoStack(folder) as stack:
        prepare(stack, recipients)
        statuses = {campaign: _run(stack, campaign) for campaign in CAMPAIGNS}
        runs = {name: _messages(stack, status["run_id"]) for name, status in statuses.items()}
        checks = [
            *check_mail(stack.mail.record, statuses[CAMPAIGNS[0]], runs[CAMPAIGNS[0]]),
            *check_sms(stack.smsc.record, statuses[CAMPAIGNS[1]], runs[CAMPAIGNS[1]]),
        ]
        _report(stack, statuses, checks)
    note("Stopped what was started. To look at these runs: .venv/bin/ignition up")
    return 0 if all(check.holds for check in checks) else 1


def up(*, port: int = UP_PORT) -> None:
    """Start the demo's stack and keep it running until Ctrl-C, on the demo's own data.

    Args:
        port: Where the Prefect UI listens.
    """
    _require_checkout()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        note("Starting a Prefect server, a mail server and an SMSC on loopback …")
        with DemoStack(FOLDER.resolve() / "demo", port=port) as stack:
            prepare(stack, None)
            out.print(f"\nPrefect UI: {stack.ui_url}\nIn another terminal:\n", markup=False)
            for name in ("PREFECT_API_URL", "PREFECT_HOME", "IGNITION_DATABASE_URL"):
                if name in stack.environment:
                    out.print(
                        f"export {name}={stack.environment[name]}", markup=False, soft_wrap=True
                    )
            out.print("\nCtrl-C stops everything.", markup=False)
            threading.Event().wait()
    except KeyboardInterrupt:
        note("Stopped.")

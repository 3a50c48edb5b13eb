"""``ignition doctor``: looks at every part and says how to mend what is wrong. Changes nothing."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ignition_ext.cli.checks import check_everything
from ignition_ext.cli.output import out, print_json
from ignition_ext.health.check import Check, Verdict

_MARKS = {Verdict.OK: "ok    ", Verdict.HINT: "note  ", Verdict.FAILED: "FAILED"}


async def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check every part and say how to mend what is wrong; exit 1 if something is.

    Args:
        json: Print one JSON document with all checks.
    """
    checks = [check async for check in check_everything()]
    healthy = all(check.verdict is not Verdict.FAILED for check in checks)
    if json:
        print_json({"healthy": healthy, "checks": checks})
    else:
        for check in checks:
            _tell(check)
    return 0 if healthy else 1


def _tell(check: Check) -> None:
    out.print(
        f"{_MARKS[check.verdict]}  {check.name}: {check.detail}", markup=False, soft_wrap=True
    )
    if check.mend:
        out.print(f"          {check.mend}", markup=False, soft_wrap=True)

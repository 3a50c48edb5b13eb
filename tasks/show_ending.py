"""What Prefect shows of a run's end. Tasks hand back values: a state would become their own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from ignition_ext.orchestration.mirror import SKIPPED


class EndingKind(StrEnum):
    """How a run's flow can end by itself."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a run and the one line that the UI shows beside it."""

    kind: EndingKind
    message: str


def show_ending(ending: Ending) -> State[Any]:
    """The Prefect state for an ending; skipped is of type Completed, for nothing went wrong."""
    match ending.kind:
        case EndingKind.COMPLETED:
            return Completed(message=ending.message)
        case EndingKind.SKIPPED:
            return Completed(name=SKIPPED, message=ending.message)
        case EndingKind.CANCELLED:
            return Cancelled(message=ending.message)
        case EndingKind.FAILED:
            return Failed(message=ending.message)
        case _:
            assert_never(ending.kind)

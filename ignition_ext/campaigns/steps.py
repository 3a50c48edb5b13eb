"""Sending in steps, and when to stop: what a campaign file says of it, and its arithmetic.

Nothing here knows a database or Prefect: from counts to decisions. The arithmetic is exact
(fractions), so that 2 % of 150 is three messages wherever it is asked.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictInt,
    WithJsonSchema,
    model_validator,
)

from ignition_ext.values import MessageState

MAX_STEPS = 20
"""Each step is a wait and a start of the run: more than these are a throttle, which there is."""
DEFAULT_WAIT = timedelta(minutes=30)
"""Most receipts and bounces of a step have come by then."""
MOST_BEFORE_JUDGED = 500
"""Of so many, a rate of one in a hundred is a matter of five messages and no longer of one."""
LARGEST_COUNT = 1_000_000_000

_PERCENT = re.compile(r"^\s*(\d{1,3}(?:\.\d{1,6})?)\s*%\s*$", re.ASCII)


def parse_percent(value: Any) -> Fraction:
    """``2%`` or ``0.1%`` as a fraction of one; more than nothing, at most 100%.

    Raises:
        ValueError: it is not written so.
    """
    if isinstance(value, Fraction):
        return value
    match = _PERCENT.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a percentage; write for example 2% or 0.1%")
    share = Fraction(match[1]) / 100
    if not 0 < share <= 1:
        raise ValueError(f"{value.strip()} is not more than 0% and at most 100%")
    return share


def write_percent(share: Fraction) -> str:
    """As :func:`parse_percent` reads it back: ``0.1%``."""
    text = f"{float(share * 100):.6f}".rstrip("0").rstrip(".")
    return f"{text}%"


Percent = Annotated[
    Fraction,
    PlainValidator(parse_percent),
    PlainSerializer(write_percent, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string"}),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSize:
    """How far a step goes, counted from the run's beginning: a part of the audience, or so many."""

    share: Fraction | None = None
    count: int | None = None

    def of(self, total: int) -> int:
        """Messages that are out after the step; a part is rounded up, so that it is never none."""
        if self.share is not None:
            return min(-(-total * self.share.numerator // self.share.denominator), total)
        assert self.count is not None
        return min(self.count, total)

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole audience."""
        return self.share == 1

    def __str__(self) -> str:
        return str(self.count) if self.share is None else write_percent(self.share)


def parse_step(value: Any) -> StepSize:
    """``10%`` or a whole number of messages.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, StepSize):
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 < value <= LARGEST_COUNT:
            raise ValueError(f"{value} is no number of messages from 1 to {LARGEST_COUNT}")
        return StepSize(count=value)
    if isinstance(value, str) and "%" in value:
        return StepSize(share=parse_percent(value))
    raise ValueError(f"{value!r} is no step; write a percentage such as 10%, or a number")


Step = Annotated[
    StepSize,
    PlainValidator(parse_step),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string"}),
]


def check_ramp(ramp: Sequence[StepSize]) -> None:
    """Refuse steps that cannot be meant.

    Raises:
        ValueError: which, and why.
    """
    if not ramp:
        return
    if len(ramp) == 1:
        raise ValueError(f"{ramp[0]} alone is no ramp; write at least two steps: [1%, 100%]")
    if not ramp[-1].is_whole:
        raise ValueError(f"the last step is {ramp[-1]}; it has to be 100%")
    for kind in ("share", "count"):
        sizes = [step for step in ramp if getattr(step, kind) is not None]
        for before, after in itertools.pairwise(sizes):
            if getattr(after, kind) <= getattr(before, kind):
                raise ValueError(
                    f"{after} comes after {before}; each step counts from the beginning and is"
                    " larger than the one before"
                )
    if ramp[-2].is_whole:
        raise ValueError("100% stands twice")


class StopSpec(BaseModel):
    """``stop_if``: rates from which on a run stops and asks. At least one of them is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bounced: Percent | None = None
    failed: Percent | None = None
    complained: Percent | None = None
    after: StrictInt | None = Field(default=None, ge=1, le=LARGEST_COUNT)

    @model_validator(mode="after")
    def _has_a_rate(self) -> Self:
        if not self.rates:
            raise ValueError("give at least one of bounced, failed and complained, such as 2%")
        return self

    @property
    def rates(self) -> dict[str, Fraction]:
        """Those that are given, by their names."""
        found = {name: getattr(self, name) for name in RATES}
        return {name: rate for name, rate in found.items() if rate is not None}

    def judged_from(self, targets: Sequence[int]) -> int:
        """How many must have been tried before a rate says anything."""
        if self.after is not None:
            return self.after
        return min([MOST_BEFORE_JUDGED, *targets[:1]])


RATES = ("bounced", "failed", "complained")
"""What is measured, in the words of the ledger's states."""
TRIED = (
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
    MessageState.FAILED,
)
"""States of a message of which it is known that it went out, or that it never will. Not deferred
(still to be judged), not uncertain (nobody knows), not suppressed, cancelled or expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is judged: messages that were tried, and of those the bad ones."""

    tried: int = 0
    bounced: int = 0
    failed: int = 0
    complained: int = 0

    @classmethod
    def of(cls, counts: Mapping[MessageState, int]) -> Self:
        """From a run's messages by state."""
        return cls(
            tried=sum(counts.get(state, 0) for state in TRIED),
            bounced=counts.get(MessageState.BOUNCED, 0),
            failed=counts.get(MessageState.FAILED, 0),
            complained=counts.get(MessageState.COMPLAINED, 0),
        )

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From what :meth:`document` wrote."""
        return cls(**{name: int(document.get(name, 0)) for name in ("tried", *RATES)})

    def document(self) -> dict[str, int]:
        """For JSON."""
        return {name: getattr(self, name) for name in ("tried", *RATES)}

    def since(self, base: Figures) -> Figures:
        """What came after those that an operator has judged; a redrive can take some back."""
        return Figures(
            **{
                name: max(getattr(self, name) - getattr(base, name), 0)
                for name in ("tried", *RATES)
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A rate that is reached."""

    name: str
    count: int
    tried: int
    limit: Fraction

    def __str__(self) -> str:
        percent = 100 * self.count / self.tried
        return f"{self.count} of {self.tried} {self.name} ({percent:.2f} %, at {self.limit_text})"

    @property
    def limit_text(self) -> str:
        """The threshold as the campaign file writes it."""
        return write_percent(self.limit)


def exceeded(stop_if: StopSpec, judged_from: int, figures: Figures) -> list[Exceeded]:
    """The rates that are reached: count ÷ tried ≥ rate; none before enough were tried."""
    if figures.tried < max(judged_from, 1):
        return []
    return [
        Exceeded(name=name, count=count, tried=figures.tried, limit=rate)
        for name, rate in stop_if.rates.items()
        if (count := getattr(figures, name)) and count >= rate * figures.tried
    ]


def step_targets(ramp: Sequence[StepSize], total: int) -> tuple[int, ...]:
    """How many messages of ``total`` are out after each step; the last is the whole.

    Steps that would add nobody to a small audience are left out.
    """
    targets: list[int] = []
    for step in ramp:
        target = step.of(total)
        if target > (targets[-1] if targets else 0):
            targets.append(target)
    return tuple(targets)


def untried(counts: Mapping[MessageState, int], held: int) -> int:
    """Messages of the steps begun that nobody has tried yet; a deferred one was.

    What no step has come to is pending as well: so many are ``held``.
    """
    waiting = sum(
        counts.get(state, 0)
        for state in (MessageState.PENDING, MessageState.CLAIMED, MessageState.SENDING)
    )
    return max(waiting - held, 0)

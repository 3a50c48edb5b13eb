"""Reads a campaign file; an error names the file, the line, the field and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ignition_ext.campaigns.chain import ParentSpec
from ignition_ext.campaigns.condition import ConditionSpec
from ignition_ext.campaigns.definition import (
    AudienceSpec,
    CampaignDefinition,
    DeliverySpec,
    OwnerSpec,
    RetrySpec,
    ScheduleSpec,
    ThrottleSpec,
)
from ignition_ext.campaigns.legs import FallbackSpec, SmsSpec
from ignition_ext.campaigns.schedule import WrongSchedule
from ignition_ext.campaigns.steps import StopSpec
from ignition_ext.campaigns.yaml import MAX_BYTES, Document, YamlError, parse
from ignition_ext.errors import CampaignFileError

_PARTS: dict[str, type[BaseModel]] = {
    "": CampaignDefinition,
    "audience": AudienceSpec,
    "schedules": ScheduleSpec,
    "schedules.condition": ConditionSpec,
    "schedules.condition.all": ConditionSpec,
    "after": ParentSpec,
    "delivery": DeliverySpec,
    "delivery.stop_if": StopSpec,
    "throttle": ThrottleSpec,
    "sms": SmsSpec,
    "sms.throttle": ThrottleSpec,
    "fallback": FallbackSpec,
    "retry": RetrySpec,
    "owner": OwnerSpec,
}
_MORE = 5
"""How many further problems an error lists: enough to mend in one go, still one screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a file."""

    line: int
    field: str
    message: str
    mend: str = ""
    missing: bool = False
    meant: str = ""

    @property
    def parent(self) -> str:
        """The field that this one is part of."""
        return self.field.rpartition(".")[0]

    def __str__(self) -> str:
        return f"line {self.line}: {f'{self.field}: ' if self.field else ''}{self.message}"


def load_campaign_file(path: Path) -> CampaignDefinition:
    """What the file says, checked as far as it can be without a database or a server.

    Raises:
        CampaignFileError: the file cannot be read or says something wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = "does not exist." if isinstance(error, FileNotFoundError) else f"{error.strerror}."
        raise CampaignFileError(
            reason, path=str(path), mend="Name a YAML file, such as deployments/acme/news.yaml."
        ) from error
    return read_campaign(data, str(path))


def read_campaign(data: bytes, path: str) -> CampaignDefinition:
    """The same from bytes; ``path`` is only named in errors.

    Raises:
        CampaignFileError: the text says something wrong.
    """
    try:
        document = parse(data)
    except YamlError as error:
        raise CampaignFileError(
            f"{error}.",
            path=path,
            line=error.line,
            field=_dotted(error.path),
            mend="docs/campaign-file.md shows a whole file.",
        ) from error
    if not isinstance(document.value, dict):
        raise CampaignFileError(
            "not a campaign: the file has to say `name: …`, `tenant: …` and so on.",
            path=path,
            line=document.line(()),
            mend="docs/campaign-file.md shows a whole file.",
        )
    try:
        return CampaignDefinition.model_validate(document.value)
    except ValidationError as error:
        raise _as_file_error(sorted_problems(error, document), path) from error


def field_error(
    definition_path: Path, path: Sequence[str | int], message: str, mend: str
) -> CampaignFileError:
    """An error that was found later, outside of the file, at the line that is to blame for it."""
    try:
        line = parse(definition_path.read_bytes()).line(tuple(path))
    except (OSError, YamlError):
        line = 0  # changed since it was read; the field still tells
    return CampaignFileError(
        message, path=str(definition_path), line=line, field=_dotted(tuple(path)), mend=mend
    )


def sorted_problems(error: ValidationError, document: Document) -> list[Problem]:
    """Pydantic's errors with lines, from the top of the file down.

    A misspelt key is told once: that the right one is missing goes without saying.
    """
    problems = sorted(_problems(error, document), key=lambda problem: problem.line)
    meant = {(problem.parent, problem.meant) for problem in problems if problem.meant}
    return [
        problem
        for problem in problems
        if not (problem.missing and (problem.parent, problem.field.rpartition(".")[2]) in meant)
    ]


def _as_file_error(problems: Sequence[Problem], path: str) -> CampaignFileError:
    first, more = problems[0], problems[1 : _MORE + 1]
    mend = " ".join((first.mend, *(f"Also {problem}" for problem in more))).strip()
    return CampaignFileError(
        first.message, path=path, line=first.line, field=first.field, mend=mend
    )


def _problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        path = tuple(details["loc"])
        kind = details["type"]
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, WrongSchedule) and cause.key:
            path = (*path, cause.key)
        message, mend = _words(kind, details["msg"], path, details.get("input"))
        yield Problem(
            line=document.line(path),
            field=_dotted(path),
            message=message,
            mend=mend,
            missing=kind == "missing",
            meant=_meant(path) if kind == "extra_forbidden" else "",
        )


def _words(kind: str, text: str, path: tuple[str | int, ...], given: Any) -> tuple[str, str]:
    """The message and mend for one of Pydantic's errors."""
    match kind:
        case "extra_forbidden":
            return _unknown_key(path)
        case "missing":
            return "is missing.", "Add it; docs/campaign-file.md says what it means."
        case "value_error":
            return f"{text.removeprefix('Value error, ')}.", ""
        case "string_type" if isinstance(given, bool | int | float):
            return (
                f"{given!r} is a {'truth value' if isinstance(given, bool) else 'number'} here,"
                " a text is wanted.",
                f'Put it in quotes: "{str(given).lower()}".',
            )
        case "enum" | "literal_error" if path == ("channel",):
            return f"there is no channel {given!r}.", "Write email, sms, both or fallback."
        case "string_pattern_mismatch" if len(path) == 1 and path[0] in ("name", "tenant", "block"):
            return (
                f"{given!r} is not a name.",
                "Use small letters, digits and hyphens, at most 63 of them.",
            )
        case _:
            shown = repr(given)
            return f"{text} (here: {shown[:60]}{'…' if len(shown) > 60 else ''}).", ""


def _unknown_key(path: tuple[str | int, ...]) -> tuple[str, str]:
    key = str(path[-1])
    if key == "<<":
        return "YAML's merge keys are not taken here.", "Write the keys out."
    meant = _meant(path)
    mend = f"Did you mean `{meant}`?" if meant else f"Known are: {', '.join(_known(path))}."
    return "is not a key that a campaign file has.", mend


def _known(path: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand beside the one at ``path``."""
    part = _PARTS.get(".".join(str(name) for name in path[:-1] if not isinstance(name, int)))
    return [] if part is None else [f.alias or name for name, f in part.model_fields.items()]


def _meant(path: tuple[str | int, ...]) -> str:
    """The key that an unknown one is nearly, else nothing."""
    return next(iter(get_close_matches(str(path[-1]), _known(path), n=1, cutoff=0.6)), "")


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path)

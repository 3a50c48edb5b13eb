"""Reports in words alone: flufl.bounce knows the usual servers', and finds whom they speak of."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_string
from email.utils import getaddresses

from flufl.bounce import all_failures

from ignition_ext.channels.reports.fields import MAX_FIELD, MAX_VALUES, one_line
from ignition_ext.channels.reports.report import ReportedRecipient
from ignition_ext.channels.reports.status import judge

MAX_TEXT = 64 * 1024
"""Characters of a body that are read: the report comes first, then the original."""
_LOG = logging.getLogger("flufl.bounce")
_EMPTY_LINE = re.compile(r"\r?\n[ \t]*\r?\n")
_REST = re.compile(
    r"^[ >-]*(?:-{2,}.*(?:original|copy|returned|undelivered|below).*|"
    r"(?:return-path|received|message-id|mime-version|dkim-signature): .*)$",
    re.IGNORECASE | re.MULTILINE,
)
"""Where the original begins: its own words are no server's."""


def failures(raw: bytes) -> tuple[list[str], list[str]]:
    """Addresses that failed for a time, and for good; both empty where it is no report."""
    # Its detectors trip over fields that are not ASCII, and over a mail without a sender.
    message = message_from_string(raw[:MAX_TEXT].decode("ascii", "replace").replace("\ufffd", "?"))
    if not getaddresses([message.get("From", "")])[:1]:
        return [], []
    try:
        with _silenced():
            delayed, failed = all_failures(message)
    except Exception:
        # They meet mails here that no server writes; one that trips them tells nothing.
        return [], []
    return _texts(delayed), _texts(failed)


@contextmanager
def _silenced() -> Iterator[None]:
    """Without the traceback that it logs for each mail that trips it: strangers write those."""
    was, _LOG.disabled = _LOG.disabled, True
    try:
        yield
    finally:
        _LOG.disabled = was


def _texts(found: Sequence[bytes] | frozenset[bytes]) -> list[str]:
    texts = sorted(one_line(address.decode("ascii", "replace")) for address in found)
    return [text for text in texts if "@" in text][:MAX_VALUES]


def told(address: str, body: str, *, action: str) -> ReportedRecipient:
    """What the report's text says about an address."""
    report = without_original(body)
    diagnostic = words_about(address, report) or one_line(report)
    judged = judge("", diagnostic, one_line(report))
    return ReportedRecipient(
        address=address,
        action=action,
        status=judged.status,
        code=judged.code,
        diagnostic=diagnostic,
        failure_class=judged.failure_class,
        is_hard=judged.is_hard and action == "failed",
    )


def without_original(body: str) -> str:
    """The text of a report without what it returns."""
    report = body[:MAX_TEXT]
    rest = _REST.search(report)
    return report if rest is None or rest.start() == 0 else report[: rest.start()]


def words_about(address: str, report: str) -> str:
    """The words that follow an address, up to the next empty line; empty where it is not named."""
    place = report.lower().find(address.lower()) if address else -1
    if place < 0:
        return ""
    behind = report[place + len(address) :][:MAX_FIELD].lstrip(" >:,.)\"'\r\n")
    return one_line(_EMPTY_LINE.split(behind, maxsplit=1)[0])

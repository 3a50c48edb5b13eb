"""What a report's codes and words say about one recipient; the rules are those for SMTP replies."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ignition_ext.channels.smtp.classify import Stage, classify, names_bad_address
from ignition_ext.channels.smtp.replies import Reply
from ignition_ext.values import FailureClass

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(
    r"(?<![\d.:\[])([245]\d\d)[ \-]+(?:#?([245]\.\d{1,3}\.\d{1,3})[ :]+)?(?!\d)(\S.*)"
)
_UNKNOWN = re.compile(
    r"(?:user|recipient|mailbox|account|address|utilisateur)\s(?:\S+\s)?"
    r"(?:is\s)?(?:unknown|not\s(?:found|known)|does\s?n[o']t\sexist|doesn't\sexist|inconnu)"
    r"|(?:unknown|no\ssuch|invalid|non-?existent)\s(?:local\s)?"
    r"(?:user|recipient|mailbox|account|address|person)"
    r"|unrout(?:e)?able\saddress|no\smailbox\s(?:here\s)?by\sthat\sname|not\sour\scustomer"
    r"|user\sdoesn't\shave|(?:address|account)\s(?:has\sbeen\s)?(?:disabled|deactivated|closed)",
    re.IGNORECASE,
)
_UNROUTED = re.compile(r"unrout(?:e)?able\saddress", re.IGNORECASE)
_FULL = re.compile(
    r"(?:mailbox|mail\sbox|quota|storage|inbox)\s(?:\S+\s){0,3}(?:full|exceeded|exhausted|limit)"
    r"|over\s?quota|exceed(?:s|ed)?\s(?:\S+\s){0,4}quota|out\sof\sstorage",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"connection\s(?:timed\sout|refused)|retry\stime(?:out)?\s(?:not\sreached|exceeded)"
    r"|no\sroute\sto\shost|host\s(?:not\sfound|unknown)|name\sservice\serror|network\serror"
    r"|timeout\s(?:exceeded|after)|lost\sconnection|couldn't\sfind\sany\shost",
    re.IGNORECASE,
)
_SENDER = re.compile(r"\b(?:sender|return.path|mail from)\b", re.IGNORECASE)
_DATA = re.compile(
    r"(?:end of )?DATA\b|message content|after (?:end of|sending) (?:data|message)", re.IGNORECASE
)
_RCPT = re.compile(r"\bRCPT TO\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of one recipient, in Ignition's words."""

    status: str
    code: str
    failure_class: FailureClass
    is_hard: bool


def judge(status: str, diagnostic: str, context: str = "") -> Judgement:
    """Whose fault a refusal is.

    Args:
        status: the Status field of RFC 3464; some servers always write ``5.0.0``.
        diagnostic: the remote server's words, with the codes that it gave.
        context: what the reporting server says around it, such as the command that was refused.
    """
    code, found, text = reply_in(diagnostic)
    given = _STATUS.search(status)
    best = given[1] if given else ""
    if found and (not best or best.endswith(".0.0")):
        best = found
    text = text or diagnostic
    told, around = text or context, f"{text} {context}"
    generic = not best or best.endswith(".0.0")
    failure = _by_words(told) if generic else None
    permanent = (best or code or "5")[0] == "5"
    if failure is None:
        reply = Reply(
            code=int(code) if code else (550 if permanent else 450),
            enhanced="" if generic else best,
            text=told,
        )
        failure = classify(_stage(around), reply).failure_class or FailureClass.SYSTEM
    is_hard = permanent and failure is FailureClass.ADDRESS
    if generic:
        # Without a remote server's code it may be our own relay that knows no way.
        is_hard = is_hard and bool(code or not _UNROUTED.search(told))
    else:
        is_hard = is_hard and names_bad_address(best)
    return Judgement(status=best, code=code, failure_class=failure, is_hard=is_hard)


def reply_in(diagnostic: str) -> tuple[str, str, str]:
    """The SMTP reply in some words: code, enhanced code and text, each empty where missing."""
    match = _REPLY.search(diagnostic)
    if match is None:
        status = _STATUS.search(diagnostic)
        return "", status[1] if status else "", ""
    text = match[3]
    enhanced = match[2] or ""
    if not enhanced and (status := _STATUS.search(diagnostic)) is not None:
        enhanced = status[1]
    return match[1], enhanced, text


def _by_words(text: str) -> FailureClass | None:
    """For servers without telling codes."""
    if _FULL.search(text):
        return FailureClass.MAILBOX
    if _UNKNOWN.search(text) and not _SENDER.search(text):
        return FailureClass.ADDRESS
    if _UNREACHABLE.search(text):
        return FailureClass.CONNECTION
    return None


def _stage(text: str) -> Stage:
    """A bare 550 is the address's fault only where RCPT was refused."""
    if _RCPT.search(text) and not _DATA.search(text):
        return Stage.RCPT
    return Stage.CONTENT

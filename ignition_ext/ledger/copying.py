"""New messages as the text that PostgreSQL's COPY reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.ids import ordered_keys
from ignition_ext.ledger.rows import document
from ignition_ext.values import RunRef

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_NULL = "\\N"
_NOW = "now"
"""What PostgreSQL reads as the time at which the transaction began: its clock, not the node's."""
_NEW = f"pending\t0\t0\t0\t\t\t\t\t0\t{_NOW}\t{_NOW}\n"
"""State, seq, attempts, resends, the server's words, parts, and the times of a new message."""


@dataclass(frozen=True, slots=True)
class CopyText:
    """Lines for ``copy_messages`` (or ``copy_stage``) and for ``copy_due``, in one order."""

    messages: bytes
    due: bytes


def copy_text(run: RunRef, messages: Sequence[NewMessage]) -> CopyText:
    """One line for each message, with a new key; the keys rise."""
    fields: dict[str | None, str] = {None: _NULL}

    def known(text: str | None) -> str:
        """Few domains, languages and zones come again and again."""
        escaped = fields.get(text)
        if escaped is None:
            assert text is not None
            escaped = fields[text] = text.translate(_ESCAPES)
        return escaped

    run_id, run_at, tenant = run.id.hex, run.run_at.isoformat(), run.tenant_id
    of_run, place = f"{run_at}\t{tenant}\t{run_id}", f"{run_at}\t{tenant}\n"
    lines, due = [], []
    for key, message in zip(ordered_keys(len(messages)), messages, strict=True):
        address = message.address
        if not (address.isprintable() and "\\" not in address):
            address = address.translate(_ESCAPES)
        recipient = _NULL if message.recipient_id is None else message.recipient_id
        later = message.not_before
        not_before = _NOW if later is None else later.isoformat()
        # JSON has escaped every control character already.
        data = document(message.data).replace("\\", "\\\\")
        lines.append(
            f"{key}\t{of_run}\t{recipient}\t{message.channel.value}\t{address}\t"
            f"{known(message.domain)}\t{known(message.locale)}\t{known(message.timezone)}\t"
            f"{data}\t{not_before}\t{_NEW}"
        )
        due.append(f"{run_id}\t{not_before}\t{key}\t{place}")
    return CopyText("".join(lines).encode(), "".join(due).encode())

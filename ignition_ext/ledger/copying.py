"""New messages as the text that PostgreSQL's COPY reads."""

from __future__ import annotations

from collections.abc import Sequence

from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.ids import ordered_keys
from ignition_ext.ledger.rows import document

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_NULL = "\\N"


def copy_text(messages: Sequence[NewMessage]) -> bytes:
    """One line for each message, with a new key, in the order of ``copy_stage``."""
    fields: dict[str | None, str] = {None: _NULL}

    def known(text: str | None) -> str:
        """Few domains, languages and zones come again and again."""
        escaped = fields.get(text)
        if escaped is None:
            assert text is not None
            escaped = fields[text] = text.translate(_ESCAPES)
        return escaped

    lines = []
    keys = ordered_keys(len(messages))
    for place, (key, message) in enumerate(zip(keys, messages, strict=True)):
        address = message.address
        if not (address.isprintable() and "\\" not in address):
            address = address.translate(_ESCAPES)
        recipient = _NULL if message.recipient_id is None else message.recipient_id
        later = message.not_before
        not_before = _NULL if later is None else later.isoformat()
        # JSON has escaped every control character already.
        data = document(message.data).replace("\\", "\\\\")
        lines.append(
            f"{place}\t{key}\t{recipient}\t{message.channel.value}\t{address}\t"
            f"{known(message.domain)}\t{known(message.locale)}\t{known(message.timezone)}\t"
            f"{not_before}\t{data}\n"
        )
    return "".join(lines).encode()

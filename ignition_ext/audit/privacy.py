"""Keeps people's addresses out of the audit log, so that erasing a person never touches it.

What looks like an email address or a telephone number is replaced, not refused: an operator who
cancels a run "because bob@example.com complained" must not be stopped by his own reason.
"""

from __future__ import annotations

import re
from typing import Any

EMAIL_MARK = "[email]"
PHONE_MARK = "[phone]"

# Bounded repetitions: linear in the text, whatever it holds. The last label has a letter, so
# that template@3 stays. The local part may be quoted or in any script (RFC 6531).
_EMAIL = re.compile(r"""[^\s<>",;:()\[\]@]{1,64}@(?:[\w-]{1,63}\.){1,10}[\w-]{0,62}[^\W\d_]\b""")

# International with + (E.164 has at most 15 digits); national with a trunk 0; NANP as written.
# Looks around keep hashes, UUIDs, times and UTC offsets whole.
_PHONE = re.compile(
    r"""(?<![\w+])\+\d(?:[\s()./-]{0,2}\d){6,14}(?!\w)
      | (?<![\w.:+-])0\d{1,5}[\s/-]\d(?:[\s/-]?\d){4,10}(?![\w:.-])
      | (?<![\w.:+-])0\d{8,14}(?![\w:.-])
      | (?<![\w.:+-])\(?\d{3}\)?[\s.-]\d{3}[.-]\d{4}(?![\w-])""",
    re.VERBOSE,
)


def redact_text(text: str) -> str:
    """The text with marks in place of addresses."""
    if "@" in text:
        text = _EMAIL.sub(EMAIL_MARK, text)
    return _PHONE.sub(PHONE_MARK, text)


def redact(value: Any) -> Any:
    """The same for every text of a JSON value, keys included."""
    match value:
        case str():
            return redact_text(value)
        case dict():
            return {redact_text(key): redact(item) for key, item in value.items()}
        case list():
            return [redact(item) for item in value]
        case _:
            return value

"""What a template may use up at most; templates come from tenants and are not trusted."""

from __future__ import annotations

MAX_SOURCE_CHARS = 262_144
"""One file's source. Hand-written mail stays under 100 kB (Gmail clips there); what is longer
is machine-made and would cost seconds to compile."""

MAX_FILES = 64
"""Files in one template folder: every part in some twenty languages. Stops a folder that was
named by mistake, such as a home directory."""

MAX_OUTPUT_CHARS = 1_048_576
"""One rendered part, and any text made on the way. Servers refuse messages well above this
after encoding; it stops doubling loops while they are still small."""

MAX_ITERATIONS = 10_000
"""Loop passes and macro calls of one message together. A receipt has hundreds of lines;
three nested loops over a range would run for hours."""

MAX_SECONDS = 5.0
"""Time of one message, looked at in each loop pass. A render takes some 20 µs; this is wide
enough for a stalled machine and stops what the counts above let through."""

MAX_INTEGER_BITS = 4_096
"""Size of a computed integer; repeated squaring otherwise fills the memory in forty steps."""

MAX_DIGITS = 20
"""Digits that rounding may keep; a power of ten beyond is an integer without end."""

MAX_NESTING = 4
"""Depth of lists in lists that a template may build; comparing deep ones takes exponential time."""

MAX_ELEMENTS = 100_000
"""Elements of lists in lists that a template may build, each counted as often as it stands there:
whoever compares, sorts or looks through them touches every one, some milliseconds in all."""

MAX_PATTERN_CHARS = 64
"""A date or number pattern; each letter of one may become many digits."""

MAX_LOCALES = 256
"""Chosen sets of files kept ready per template; a source with more locales is served slower."""

FORMATS_KEPT = 4_096
"""Formatted dates and amounts kept ready for each language, under 1 MB of each kind; dates of ten
years."""

MAX_REMEMBERED_CHARS = 64
"""A longer value's result is not kept: it is a text of its own, which no other recipient has."""

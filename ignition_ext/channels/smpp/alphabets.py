"""The character tables of 3GPP TS 23.038: the default alphabet, its extension, national shifts.

Each table is laid out as in the standard, sixteen positions a row; the position is the septet.
``ESC`` (0x1B) stands where the escape is and is no character of a text.
"""

from __future__ import annotations

from collections.abc import Mapping

ESC = "\x1b"

DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
"""TS 23.038 section 6.2.1."""

EXTENSION: Mapping[str, int] = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
"""TS 23.038 section 6.2.1.1; each costs two septets, the escape and its own."""

TURKISH_SINGLE: Mapping[str, int] = {
    **EXTENSION,
    "Ğ": 0x47,
    "İ": 0x49,
    "Ş": 0x53,
    "ç": 0x63,
    "ğ": 0x67,
    "ı": 0x69,
    "ş": 0x73,
}
"""TS 23.038 annex A.2.1, national language identifier 1."""

SPANISH_SINGLE: Mapping[str, int] = {
    **EXTENSION,
    "ç": 0x09,
    "Á": 0x41,
    "Í": 0x49,
    "Ó": 0x4F,
    "Ú": 0x55,
    "á": 0x61,
    "í": 0x69,
    "ó": 0x6F,
    "ú": 0x75,
}
"""TS 23.038 annex A.2.2, national language identifier 2."""

PORTUGUESE_SINGLE: Mapping[str, int] = {
    **EXTENSION,
    "ê": 0x05,
    "ç": 0x09,
    "Ô": 0x0B,
    "ô": 0x0C,
    "Á": 0x0E,
    "á": 0x0F,
    "Φ": 0x12,
    "Γ": 0x13,
    "Ω": 0x15,
    "Π": 0x16,
    "Ψ": 0x17,
    "Σ": 0x18,
    "Θ": 0x19,
    "Ê": 0x1F,
    "À": 0x41,
    "Í": 0x49,
    "Ó": 0x4F,
    "Ú": 0x55,
    "Ã": 0x5B,
    "Õ": 0x5C,
    "Â": 0x61,
    "í": 0x69,
    "ó": 0x6F,
    "ú": 0x75,
    "ã": 0x7B,
    "õ": 0x7C,
    "â": 0x7F,
}
"""TS 23.038 annex A.2.3, national language identifier 3."""

TURKISH_LOCKING = (
    "@£$¥€éùıòÇ\nĞğ\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bŞşßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "İABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "çabcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
"""TS 23.038 annex A.3.1."""

PORTUGUESE_LOCKING = (
    "@£$¥êéúíóç\nÔô\rÁá"
    "Δ_ªÇÀ∞^\\€Ó|\x1bÂâÊÉ"
    " !\"#º%&'()*+,-./"
    "0123456789:;<=>?"
    "ÍABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÃÕÚÜ§"
    "~abcdefghijklmno"
    "pqrstuvwxyzãõ`üà"
)
"""TS 23.038 annex A.3.3."""

LOOK_ALIKES: Mapping[int, str] = str.maketrans(
    {
        "“": '"',
        "”": '"',
        "„": '"',
        "‟": '"',
        "«": '"',
        "»": '"',
        "‘": "'",
        "’": "'",
        "‚": "'",
        "‛": "'",
        "‹": "'",
        "›": "'",
        "′": "'",
        "″": '"',
        "`": "'",
        "´": "'",
        "‐": "-",
        "‑": "-",
        "‒": "-",
        "–": "-",
        "—": "-",
        "―": "-",
        "−": "-",
        "…": "...",
        "•": "*",
        "·": ".",
        "⁄": "/",
        "\t": " ",
        "\u00a0": " ",
        "\u2002": " ",
        "\u2003": " ",
        "\u2007": " ",
        "\u2009": " ",
        "\u200a": " ",
        "\u202f": " ",
        "\u200b": "",
        "\u00ad": "",
        "\ufeff": "",
        "\u2028": "\n",
        "\u2029": "\n",
    }
)
"""Typographic characters and what the default alphabet has for them; no letter loses its accent."""

import base64
import re
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.delivery.chart import Pace, chart_svg
from ignition_ext.delivery.report import (
    ADVICE,
    RunReport,
    example,
    report_markdown,
    shortened,
    without_addresses,
)
from ignition_ext.ledger.fallback_counts import Fallen
from ignition_ext.values import FailureClass, MessageState

RUN = UUID("019a0000-0000-7000-8000-000000000001")
SVG = "{http://www.w3.org/2000/svg}"


def made(**changes: Any) -> RunReport:
    facts: dict[str, Any] = {
        "campaign": "acme/newsletter",
        "run_id": RUN,
        "counts": {MessageState.SENT: 998, MessageState.FAILED: 2},
        "failures_by_class": {"mailbox": 1, "render": 1},
        "examples": [],
        "template": "newsletter@3",
        "began": "2026-11-21 08:00:00 UTC",
        "ended": "2026-11-21 08:00:10 UTC",
        "seconds": 10.0,
    }
    return RunReport(**(facts | changes))


def test_the_report_tells_counts_rate_failures_and_where_to_look() -> None:
    """Everything that an operator asks first stands on the page."""
    page = report_markdown(made())

    assert "# acme/newsletter: 998 sent, 2 failed" in page
    assert "| Rate | 100 messages/s |" in page
    assert "| sent | 998 | 99.8 % |" in page
    assert "| mailbox | 1 |" in page
    assert f"ignition messages list --run {RUN} --state failed" in page


def test_the_report_tells_how_many_emails_fell_back_and_why() -> None:
    """In the words of the run's status; a run of which none did does not speak of it."""
    fallen = Fallen(emails=3, by_class={"mailbox": 2, "expired": 1}, text_messages=1)

    line = "| Fallback | 3 emails fell back to 1 text message (expired 1, mailbox 2) |"
    assert line in report_markdown(made(fallback=str(fallen)))
    assert "Fallback" not in report_markdown(made())


def test_the_chart_is_an_image_with_its_own_background() -> None:
    """Prefect strips inline SVG, and its page is dark by default."""
    page = report_markdown(made())
    (encoded,) = re.findall(r"!\[[^\]]*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", page)
    image = ElementTree.fromstring(base64.b64decode(encoded))

    assert image.tag == f"{SVG}svg"
    background = image.find(f"{SVG}rect")
    assert background is not None
    assert (background.get("fill"), background.get("width")) == ("#ffffff", image.get("width"))
    assert [text.text for text in image.iter(f"{SVG}text")][1:5] == ["sent", "998", "failed", "2"]


@given(
    st.text(max_size=40).filter(lambda text: all(ord(c) >= 32 for c in text)),
    st.dictionaries(st.sampled_from(list(MessageState)), st.integers(0, 10**7)),
    st.lists(st.integers(0, 10**5), max_size=60),
)
def test_any_chart_is_well_formed_and_within_its_frame(
    title: str, counts: dict[MessageState, int], slices: list[int]
) -> None:
    """No name and no number breaks the image."""
    pace = Pace(slices=slices, slice_seconds=1, begin="08:00", end="08:01")
    image = ElementTree.fromstring(chart_svg(_writable(title), counts, pace))

    width, height = float(image.get("width", 0)), float(image.get("height", 0))
    for rectangle in image.iter(f"{SVG}rect"):
        assert float(rectangle.get("x", 0)) + float(rectangle.get("width", 0)) <= width
        assert float(rectangle.get("y", 0)) + float(rectangle.get("height", 0)) <= height
    for line in image.iter(f"{SVG}polyline"):
        for x, y in (point.split(",") for point in line.get("points", "").split()):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height


def _writable(title: str) -> str:
    """Without what XML 1.0 has no way to write."""
    return re.sub(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", title)


def test_every_failure_class_comes_with_advice() -> None:
    """The table's last column is never empty."""
    assert set(ADVICE) == set(FailureClass)


def test_a_servers_words_cannot_break_the_table() -> None:
    """Pipes, brackets and line breaks in a reply stay text."""
    row = example(
        {
            "address": "ada@example.com",
            "state": "failed",
            "code": "550",
            "detail": "no | such\nuser <b>x</b> [a](b) `c`",
        }
    )
    page = report_markdown(made(examples=[row]))
    (line,) = [line for line in page.splitlines() if "no \\| such" in line]

    assert line.count("|") - line.count("\\|") == 5
    assert "<b>" not in line.replace("\\<b\\>", "")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("550 5.1.1 <ada.lovelace@example.com>: unknown", "550 5.1.1 <a…@example.com>: unknown"),
        ("number +491701234567 is barred", "number +4917…67 is barred"),
        ("4.2.2 mailbox full", "4.2.2 mailbox full"),
    ],
)
def test_replies_are_shown_without_the_persons_in_them(text: str, kept: str) -> None:
    """Servers quote addresses in their replies."""
    assert without_addresses(text) == kept


def test_an_address_is_recognisable_only_for_who_has_the_list() -> None:
    """Enough to find the row, too little to write to it."""
    assert shortened("ada@example.com") == "a…@example.com"
    assert shortened("+491701234567") == "+4917…67"

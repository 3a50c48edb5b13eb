"""Links of a page led by way of us: all that should be, and nothing else is changed."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ignition_ext.links import LinkPlan, TrackedMessage, TrackedTarget
from ignition_ext.links.payload import CLICKS, OPENS, PEOPLE
from ignition_ext.links.tracking import Tracker
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer
from ignition_ext.values import MessageId

SETTINGS = Settings(signing_key="k" * 32)
CLICKING, OPENING = Signer.of(CLICKS, SETTINGS), Signer.of(OPENS, SETTINGS)
ID = MessageId(UUID("01a1fd27-c6b9-7d9d-81f1-eba9c65ddb1a"))
BASE = "https://mail.acme.example"
OURS = re.compile(re.escape(f"{BASE}/c/") + r"([A-Za-z0-9_-]+)")


def tracker(*, clicks: bool = True, opens: bool = False) -> Tracker:
    return Tracker(
        LinkPlan(
            base=BASE,
            tenant_id=7,
            people=Signer.of(PEOPLE, SETTINGS),
            clicks=CLICKING if clicks else None,
            opens=OPENING if opens else None,
        )
    )


def target(token: str) -> TrackedTarget:
    return TrackedTarget.from_bytes(CLICKING.opened(token))


def restored(page: str) -> str:
    """The page with our links turned back into what they lead to."""
    return OURS.sub(lambda found: target(found[1]).url, page)


class Hrefs(HTMLParser):
    """What Python's own parser takes for links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if tag == "a" and name == "href"]


@pytest.mark.parametrize(
    ("page", "urls"),
    [
        ('<a href="https://a.example/x?y=1&amp;z=2">x</a>', ["https://a.example/x?y=1&z=2"]),
        ("<A class=b HREF='HTTP://a.example'>x</A>", ["HTTP://a.example"]),
        ("<a href=https://a.example>x</a><area href=https://b.example/>", None),
        ('<a title="a > b" href="https://a.example">x</a>', ["https://a.example"]),
        ('<a href="https://böse.example/ü">x</a>', ["https://böse.example/ü"]),
        ('<a href="mailto:a@b.example">x</a><a href="#top">x</a><a href="tel:1">x</a>', []),
        ('<a href="/relative">x</a><a href="//a.example">x</a><a name="x">x</a>', []),
        ('<a href="https://a.example" data-track="off">x</a>', []),
        ('<a data-track=OFF href="https://a.example">x</a>', []),
        (f'<a href="{BASE}/u/abc">x</a><a href="{BASE}/p/abc">x</a>', []),
        ('<!-- <a href="https://a.example">x</a> -->', []),
        ('<!--[if mso]><a href="https://a.example">x</a><![endif]-->', []),
        ('<!--[if !mso]><!--><a href="https://a.example">x</a><!--<![endif]-->', None),
        ('<style>a:after{content:"<a href=https://a.example>"}</style>', []),
        ('<abbr href="https://a.example">x</abbr><link href="https://a.example">', []),
        ("<a href='https://a.example/" + "x" * 2000 + "'>x</a>", []),
        ('<a href="https://">x</a><a href="https://a b">x</a>', []),
        ('1 < 2 <a href="https://a.example">x</a> 3 <', ["https://a.example"]),
    ],
)
def test_which_links_are_led(page: str, urls: list[str] | None) -> None:
    """Those to the web, wherever their attribute stands; what is written off is left alone."""
    placed = "".join(tracker().place(ID, [page]))

    found = [target(token).url for token in OURS.findall(placed)]
    assert found == urls if urls is not None else found
    assert unescape(restored(placed)) == unescape(page)


_PIECES = st.lists(
    st.sampled_from(
        [
            *('<a href="', '">', "</a>", "https://a.example/", "?id=", "7", "x", " ", "<", ">"),
            *('"', "'", "<p title='", "<!--", "-->", "<style>", "</style>", "&amp;", "data-track="),
            *("off", '<a class="b" href=https://b.example>', "<body>", "</body>", "é", "/"),
        ]
    ),
    max_size=30,
)


@given(pieces=_PIECES)
@example(pieces=["<", 'a href="', "https://a.example/", '">'])
@example(pieces=["<p title='", '<a class="b" href=https://b.example>', "'", ">"])
def test_nothing_else_is_changed(pieces: list[str]) -> None:
    """However a page falls into pieces, and however broken it is; a second message is as right."""
    made = tracker()
    for _ in range(2):
        placed = "".join(made.place(ID, pieces))
        assert unescape(restored(placed)) == unescape("".join(pieces))


@given(pieces=_PIECES)
def test_pieces_make_no_difference(pieces: list[str]) -> None:
    """A page in pieces has the links led that the whole has."""
    in_pieces = [target(token).url for token in OURS.findall("".join(tracker().place(ID, pieces)))]
    whole = [
        target(token).url for token in OURS.findall("".join(tracker().place(ID, ["".join(pieces)])))
    ]

    assert in_pieces == whole


@given(urls=st.lists(st.from_regex(r"\Ahttps://[a-z]{1,9}\.example/[a-z?=&]{0,30}\Z"), max_size=8))
def test_python_sees_the_same_links(urls: list[str]) -> None:
    """As many as before, each leading by way of us to where it led."""
    page = "<body>" + "".join(f"<p><a href='{url.replace('&', '&amp;')}'>x</a></p>" for url in urls)
    placed = "".join(tracker().place(ID, [page]))

    assert [target(href.rpartition("/")[2]).url for href in Hrefs(placed).found] == urls


def test_a_link_of_the_recipients_own_values_is_marked() -> None:
    """Its URL is not kept whole; the template's own is, also behind a value."""
    pieces = ['<p style="', "x", '"><a href="https://a.example/fix">1</a><a href="']
    pieces += ["https://a.example/own", '">2</a><a href="https://a.example/?id=', "7", '">3</a>']

    placed = "".join(tracker().place(ID, pieces))

    said = [target(token) for token in OURS.findall(placed)]
    assert [(one.url, one.is_personal) for one in said] == [
        ("https://a.example/fix", False),
        ("https://a.example/own", True),
        ("https://a.example/?id=7", True),
    ]


def test_what_is_the_templates_stays_a_piece() -> None:
    """Composing knows them again: the same texts in each message, around what is its own."""
    made = tracker(opens=True)
    page = ["<body><p>Hé ", "Ada", '</p><a href="https://a.example">x</a> more</body>']
    first, second = (made.place(MessageId(UUID(int=number)), page) for number in (1, 2))

    same = [one for one, other in zip(first, second, strict=True) if one == other]
    assert "".join(same) == '<body><p>Hé Ada</p><a href="">x</a> more</body>'


@pytest.mark.parametrize(
    ("page", "before"),
    [
        (["<body>x</bo", "dy>"], "<body>x</body>"),
        (["<BODY>x</BODY >", "</html>"], "<BODY>x"),
        (["x"], "x"),
        ([], ""),
    ],
)
def test_the_pixel_stands_at_the_end(page: list[str], before: str) -> None:
    """In front of the body's end, or behind everything."""
    placed = "".join(tracker(clicks=False, opens=True).place(ID, page))

    pixel = re.search(r'<img src="https://mail\.acme\.example/o/([^"]+)\.gif"[^>]*>', placed)
    assert pixel is not None
    assert placed[: pixel.start()] == before
    about = TrackedMessage.from_bytes(OPENING.opened(pixel[1]))
    assert about == TrackedMessage(tenant_id=7, message_id=ID)
    assert 'alt=""' in pixel[0]

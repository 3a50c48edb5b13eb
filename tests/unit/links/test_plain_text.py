"""Links of a plain text led by way of us: those that mail programs agree on, and nothing else."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ignition_ext.errors import TokenError
from ignition_ext.links import LinkPlan, TrackedTarget
from ignition_ext.links.payload import CLICKS, OPENS, PEOPLE
from ignition_ext.links.plain_text import web_links
from ignition_ext.links.tracking import Tracker
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer
from ignition_ext.templates.email_maker import EmailRecipe
from ignition_ext.templates.rendering.sources import TemplateSources
from ignition_ext.values import MessageId

SETTINGS = Settings(signing_key="k" * 32)
CLICKING = Signer.of(CLICKS, SETTINGS)
ID = MessageId(UUID("01a1fd27-c6b9-7d9d-81f1-eba9c65ddb1a"))
BASE = "https://mail.acme.example"
OURS = re.compile(re.escape(f"{BASE}/c/") + r"([A-Za-z0-9_-]+)")
A = "https://a.example"


def plan(*, clicks: bool = True) -> LinkPlan:
    return LinkPlan(
        base=BASE,
        tenant_id=7,
        people=Signer.of(PEOPLE, SETTINGS),
        clicks=CLICKING if clicks else None,
        opens=Signer.of(OPENS, SETTINGS),
    )


def target(token: str) -> TrackedTarget:
    return TrackedTarget.from_bytes(CLICKING.opened(token))


def restored(text: str) -> str:
    """The text with our links turned back into what they lead to."""

    def url(found: re.Match[str]) -> str:
        try:
            return target(found[1]).url
        except TokenError:
            return found[0]

    return OURS.sub(url, text)


def placed(*pieces: str, sources: tuple[str, ...] = ()) -> str:
    return "".join(Tracker(plan(), sources).place_text(ID, pieces))


def led(*pieces: str, sources: tuple[str, ...] = ()) -> list[str]:
    return [target(token).url for token in OURS.findall(placed(*pieces, sources=sources))]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        (f"See {A}/x?y=1&z=2#top now", [f"{A}/x?y=1&z=2#top"]),
        ("HTTP://A.example\nhttps://b.example\r\n", ["HTTP://A.example", "https://b.example"]),
        (f"{A}/x. {A}/y, {A}/z! {A}/?", [f"{A}/x", f"{A}/y", f"{A}/z", f"{A}/"]),
        (f"({A}/x) [{A}/y] ({A}/z).", [f"{A}/x", f"{A}/y", f"{A}/z"]),
        (f"{A}/a_(b) ({A}/a_(b)) {A}/q[]=1", [f"{A}/a_(b)", f"{A}/a_(b)", f"{A}/q[]=1"]),
        (f"<{A}/x.> <URL:{A}/y> \"{A}/z\" '{A}/z'", [f"{A}/x.", f"{A}/y", f"{A}/z", f"{A}/z"]),
        (f"[here]({A}/x), [{A}/y]({A}/z)", [f"{A}/x", f"{A}/y", f"{A}/z"]),
        (f"*{A}/x* _{A}/y_ **{A}/z** ~{A}~", []),
        (f"* {A}/x -{A}/y *{A}/z", [f"{A}/x", f"{A}/z"]),
        (f"“{A}/x” „{A}/y“ {A}/z。次 {A}/a…", [f"{A}/x", f"{A}/y", f"{A}/z", f"{A}/a"]),
        (f"{A}:8443/x https://u:p@b.example/ https://[2001:db8::1]/", None),
        (f"<{A}/very/long\n/rest>", []),
        (f"{A}/ü {A}/x.ü {A}をご覧 https://böse.example", []),
        (f"{A}/a|b `{A}` {A}/{{id}} {A}\\x {A}/^", []),
        (f"{A}/(x {A}/[y", []),
        (f"webcal+{A} mailto:a@b.example?body={A} x{A} a@{A}", []),
        ("https:// https://? https:/a.example ftp://a.example www.a.example", []),
        (f"{BASE}/u/abc {BASE}/p/abc", []),
        (f"{A}/" + "x" * 2000, []),
    ],
)
def test_which_links_are_led(text: str, urls: list[str] | None) -> None:
    """Signs that end a sentence or close a bracket are the text's; what is in doubt stays."""
    assert restored(placed(text)) == text
    assert led(text) == (text.split() if urls is None else urls)


_WORDS = st.sampled_from(
    [
        *(A, "https://", "/x", "?id=", "7", " ", "\n", "\r\n", ".", ",", "(", ")", "[", "]"),
        *("<", ">", "'", '"', "*", "_", "é", "。", "|", "http", "://b.example", "=", "@", "…"),
        *(f"{BASE}/u/tok", f"{BASE}/c/tok", "HTTPS://C.example/%20", "", "x" * 70),
    ]
)


@given(pieces=st.lists(_WORDS, max_size=25))
@example(pieces=["http", "s://a.exam", "ple/x", "?id=", "7", ". More"])
def test_nothing_else_is_changed_however_it_falls_into_pieces(pieces: list[str]) -> None:
    """Turned back, it is the text; the links are those of the whole."""
    made = placed(*pieces)

    assert restored(made) == restored("".join(pieces))
    assert made == placed("".join(pieces))


@given(
    path=st.text("abz059-._~/?#@!$&*+=%", max_size=40),
    before=st.sampled_from(["", " ", "\n", "(", "[", '"', "'", "to:", "“", "\t", "- "]),
    after=st.sampled_from(
        ["", " ", "\n", ".", ",\n", ")", ").", "]", '"', "'", "”", "!", "?", ";", ":\r\n", "…"]
    ),
)
def test_a_link_is_whole(path: str, before: str, after: str) -> None:
    """Up to signs that end a sentence: those are never a link's last ones for a mail program."""
    url = f"{A}/{path}".rstrip(".,;:!?'")

    assert led(before + url + after) == [url]


@given(text=st.text(max_size=300) | st.lists(_WORDS).map("".join))
def test_links_stand_in_order_and_apart(text: str) -> None:
    """Each begins as one does, and none holds a blank or touches another."""
    spans = list(web_links(text))

    assert spans == sorted(spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    for start, end in spans:
        assert text[start:end].lower().startswith(("http://", "https://"))
        assert text[start:end].isprintable()
        assert " " not in text[start:end]


def test_what_is_the_templates_is_told_from_the_recipients() -> None:
    """By the template's own words; whatever else came into the text is not kept whole."""
    sources = (f"Read {A}/fix?b=1 or {A}/own?id={{{{ id }}}}.\n", f'<a href="{A}/?x=1&amp;y=2">')
    text = placed(f"Read {A}/fix?b=1 or ", f"{A}/own?id=", "7", f". {A}/?x=1&y=2", sources=sources)

    said = [target(token) for token in OURS.findall(text)]
    assert [(one.url, one.is_personal) for one in said] == [
        (f"{A}/fix?b=1", False),
        (f"{A}/own?id=7", True),
        (f"{A}/?x=1&y=2", False),
    ]


def test_what_is_the_templates_stays_a_piece() -> None:
    """Composing knows it again; a text without links is the same object."""
    page = ["Hé ", "Ada", f", see {A}/x or ", "more"]
    plain = ["Hé ", "Ada"]
    made = Tracker(plan())
    first, second = (made.place_text(MessageId(UUID(int=n)), page) for n in (1, 2))

    assert [one for one, other in zip(first, second, strict=True) if one == other] == [
        *("Hé ", "Ada", ", see ", " or ", "more")
    ]
    assert made.place_text(ID, plain) is plain
    assert Tracker(plan(clicks=False)).place_text(ID, page) is page


def made(files: dict[str, str], data: dict[str, str]) -> tuple[bytes, str, str]:
    """The message, its text and its page as a mail program reads them."""
    recipe = EmailRecipe(
        sources=TemplateSources(name="news", version=1, files=files),
        locale="en",
        timezone="UTC",
        globals={},
        sender="Acme <news@acme.example>",
        headers={},
        attachments=(),
        inline=(),
        envelope_from=None,
        links=plan(),
    )
    content = recipe.maker().make(ID, "ada@example.com", None, None, data).content
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    return (
        content,
        text.get_content().replace("\r\n", "\n"),
        "" if page is None else page.get_content(),
    )


@given(
    urls=st.lists(st.from_regex(r"\Ahttps://[a-z]{1,9}\.example/[a-z]{0,700}\Z"), max_size=6),
    name=st.sampled_from(["Ada", "Añá", "x" * 990, "Ж" * 500]),
    mark=st.sampled_from([" ", "\n", ").\n("]),
)
def test_a_message_keeps_its_lines(urls: list[str], name: str, mark: str) -> None:
    """However long links grow, no line is longer than allowed, and what is read is the text."""
    body = f"Dear {{{{ name }}}},\n({mark.join(urls)}\n"
    content, text, _ = made({"news/subject.txt": "Hi", "news/body.txt": body}, {"name": name})

    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert restored(text) == body.replace("{{ name }}", name)
    assert [target(token).url for token in OURS.findall(text)] == urls


def test_a_text_that_is_made_of_the_page_has_its_links() -> None:
    """The very same ones: what the page leaves alone is left alone, and no pixel gets into it."""
    html = f'<p><a href="{A}/x">x</a> <a data-track="off" href="{A}/y">y</a> {{{{ name }}}}</p>'
    _, text, page = made({"news/subject.txt": "Hi", "news/body.html": html}, {"name": "Ada"})

    tokens = OURS.findall(text)
    assert tokens == OURS.findall(page)
    assert [target(token).url for token in tokens] == [f"{A}/x"]
    assert f"({A}/y)" in text
    assert "/o/" in page
    assert "/o/" not in text


def test_what_the_page_writes_off_is_not_led_in_a_text_either() -> None:
    """A text has no attributes to say it with."""
    files = {
        "news/subject.txt": "Hi",
        "news/body.html": f'<a href="{A}/y" data-track="off">y</a><a href="{A}/x">x</a>',
        "news/body.txt": f"{A}/y {A}/x\n",
    }
    _, text, page = made(files, {})

    assert [target(token).url for token in OURS.findall(text)] == [f"{A}/x"]
    assert OURS.findall(text) == OURS.findall(page)

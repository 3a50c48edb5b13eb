"""Which links a campaign's messages carry, and how they stand in an email."""

from __future__ import annotations

import email
import email.policy
import pickle
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.errors import ConfigurationError
from ignition_ext.links import Addressee, LinkPlan, TrackedTarget, link_plan
from ignition_ext.links.options import CHECKS, checked_web_url
from ignition_ext.links.payload import CLICKS, PEOPLE
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer
from ignition_ext.templates.email_maker import EmailRecipe, list_fields
from ignition_ext.templates.mime import EmailComposer
from ignition_ext.templates.rendering.sources import RenderedEmail, TemplateSources
from ignition_ext.values import Channel, MessageId, new_id

SETTINGS = Settings(signing_key="k" * 32, web_url="https://mail.acme.example/")
ID = MessageId(UUID("01a1fd27-c6b9-7d9d-81f1-eba9c65ddb1a"))
FILES = {"news/subject.txt": "Hi", "news/body.html": "<p>Hi {{ unsubscribe_url }}</p>"}
PLAIN = {"news/subject.txt": "Hi", "news/body.html": "<p>Hé {{ name }}</p>"}


def plan_of(**said: Any) -> LinkPlan | None:
    usual: dict[str, Any] = {
        "tenant_id": 7,
        "channel": Channel.EMAIL,
        "own": {},
        "files": PLAIN,
        "wants_header": None,
        "settings": SETTINGS,
    }
    return link_plan(**(usual | said))


def recipe_of(files: dict[str, str], links: LinkPlan | None) -> EmailRecipe:
    return EmailRecipe(
        sources=TemplateSources(name="news", version=1, files=files),
        locale="en",
        timezone="UTC",
        globals={},
        sender="Acme <news@acme.example>",
        headers={},
        attachments=(),
        inline=(),
        envelope_from=None,
        links=links,
    )


def made(recipe: EmailRecipe, address: str, data: dict[str, Any]) -> EmailMessage:
    content = pickle.loads(pickle.dumps(recipe)).maker().make(ID, address, None, None, data).content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, False),
        ({"own": {"unsubscribe.one_click": True}}, True),
        ({"own": {"unsubscribe.one_click": True}, "wants_header": False}, False),
        ({"wants_header": True}, True),
        ({"wants_header": True, "channel": Channel.SMS}, False),
        ({"own": {"unsubscribe.one_click": True}, "channel": Channel.SMS}, False),
    ],
)
def test_the_campaign_goes_before_the_tenant(said: dict[str, Any], expected: bool) -> None:
    """Without any link wanted there is no plan, and nothing is spent on links."""
    plan = plan_of(**said)

    assert (plan is not None and plan.has_header) is expected
    assert (plan is not None) is expected


def test_a_template_that_shows_a_link_has_it() -> None:
    """In an SMS too; with no public address the name is simply not there."""
    for channel in Channel:
        plan = plan_of(files=FILES, channel=channel)
        assert plan is not None
        assert plan.are_named
        assert not plan.has_header
    assert plan_of(files=FILES, settings=Settings(signing_key="k" * 32)) is None


@pytest.mark.parametrize(
    "own", [{"unsubscribe.one_click": True}, {"tracking.opens": True}, {"tracking.clicks": True}]
)
def test_links_without_an_address_are_refused(own: dict[str, Any]) -> None:
    """A tenant's promise is kept or the run does not begin; its own address is enough."""
    nowhere = Settings(signing_key="k" * 32)
    with pytest.raises(ConfigurationError, match="IGNITION_WEB_URL"):
        plan_of(own=own, settings=nowhere)

    plan = plan_of(own={**own, "web.url": "https://acme.example/mail"}, settings=nowhere)
    assert plan is not None
    assert plan.base == "https://acme.example/mail"


@given(address=st.emails(), mailto=st.sampled_from([None, "stop@acme.example"]))
def test_the_header_says_whom_it_is_about(address: str, mailto: str | None) -> None:
    """The link names the recipient, which nobody but us can see."""
    plan = plan_of(wants_header=True, own={"unsubscribe.mailto": mailto} if mailto else {})
    fields = made(recipe_of(PLAIN, plan), "ada@example.com", {"name": "Ada"})
    assert plan is not None
    token = plan.token(ID, Channel.EMAIL, address)
    value = plan.list_unsubscribe(token)

    said = Addressee.from_bytes(Signer.of(PEOPLE, SETTINGS).opened(token))
    assert said == Addressee(tenant_id=7, message_id=ID, channel=Channel.EMAIL, address=address)
    assert address not in value
    assert fields["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    own = "".join(fields["list-unsubscribe"].split())
    assert own.startswith("<https://mail.acme.example/u/")
    assert own.endswith(">")
    assert own.count("<") == (1 if mailto is None else 2)


@given(
    address=st.emails(),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=40),
    path=st.lists(st.text("abc-", min_size=1, max_size=9), max_size=14).map("/".join),
    mailto=st.sampled_from([None, "stop@acme.example"]),
)
def test_the_fields_are_all_that_is_added(
    address: str, name: str, path: str, mailto: str | None
) -> None:
    """Whatever the addresses are: Python reads both fields, and all else as without them."""
    own = {"web.url": f"https://mail.acme.example/{path}"}
    own |= {"unsubscribe.mailto": mailto} if mailto else {}
    plan = plan_of(wants_header=True, own=own)
    assert plan is not None
    fields = list_fields(plan, plan.token(ID, Channel.EMAIL, address))
    composer = EmailComposer(sender="news@acme.example", headers={}, attachments=(), inline=())
    rendered = RenderedEmail(subject=name, html_pieces=["<p>", name, "</p>"], text_pieces=[name])
    date = datetime(2026, 11, 21, tzinfo=UTC)

    bare, full = (
        composer.compose(ID, "ada@example.com", rendered, name=name, date=date, fields=more).content
        for more in (b"", fields)
    )

    assert full.replace(fields, b"", 1) == bare
    read, without = (
        email.message_from_bytes(content, policy=email.policy.default) for content in (full, bare)
    )
    assert read["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    value = plan.list_unsubscribe(plan.token(ID, Channel.EMAIL, address))
    assert "".join(read["list-unsubscribe"].split()) == "".join(value.split())
    assert max(map(len, full.split(b"\r\n"))) <= 998
    del read["list-unsubscribe"], read["list-unsubscribe-post"]
    assert read.items() == without.items()


def test_each_message_has_its_own_fields_and_names() -> None:
    """Spliced beside what is the same for all; a link in the body is the one of the header."""
    maker = recipe_of(FILES, plan_of(files=FILES, wants_header=True)).maker()
    date = datetime.now(UTC)
    seen = set()
    for address in ("ada@example.com", "böb@example.com", "x" * 60 + "@example.com"):
        content = maker.make(ID, address, None, None, {}).content
        message = email.message_from_bytes(content, policy=email.policy.SMTPUTF8)
        link = "".join(message["list-unsubscribe"].split()).strip("<>")
        body = message.get_body(("html",))
        assert body is not None
        assert link in body.get_content()
        token = link.rpartition("/")[2]
        about = Addressee.from_bytes(Signer.of(PEOPLE, SETTINGS).opened(token))
        assert about.address == address
        seen.add(link)
    assert len(seen) == 3
    assert date <= datetime.now(UTC)


def test_without_links_the_octets_are_what_they_were() -> None:
    """No header, no name, no token."""
    message = made(recipe_of(PLAIN, None), "ada@example.com", {"name": "Ada"})

    assert "list-unsubscribe" not in message
    assert "list-unsubscribe-post" not in message


def test_a_column_of_that_name_goes_first() -> None:
    """Whoever brings links of their own keeps them; an empty one is none."""
    recipe = recipe_of(FILES, plan_of(files=FILES))
    for given_url, expected in (("https://own.example/x", True), ("", False), (None, False)):
        message = made(recipe, "ada@example.com", {"unsubscribe_url": given_url})
        body = message.get_body(("html",))
        assert body is not None
        assert ("own.example" in body.get_content()) is expected
        assert ("mail.acme.example/u/" in body.get_content()) is not expected


def test_a_tracked_email_reads_as_before() -> None:
    """Links and pixel are each message's own; the text made of the page has the page's links."""
    own = {"tracking.opens": True, "tracking.clicks": True}
    files = {
        "news/subject.txt": "Hi",
        "news/body.html": "<body><p>Hé {{ name }}"
        " <a href='https://a.example/?b=1&amp;c={{ name }}'>"
        'x</a> <a href="https://a.example/" data-track="off">y</a> <a href="{{ unsubscribe_url }}">'
        "z</a></p></body>",
    }
    maker = recipe_of(files, plan_of(own=own, files=files, wants_header=True)).maker()
    pages = []
    for number in range(3):
        content = maker.make(
            MessageId(new_id()), f"a{number}@example.com", None, None, {"name": "Zoë"}
        )
        message = email.message_from_bytes(content.content, policy=email.policy.default)
        html, text = message.get_body(("html",)), message.get_body(("plain",))
        assert html is not None
        assert text is not None
        pages.append(html.get_content())
        assert "(https://a.example/)" in text.get_content()
        (token,) = re.findall(r"/c/([\w-]+)'", pages[-1])
        assert re.findall(r"/c/([\w-]+)\)", text.get_content()) == [token]
        target = TrackedTarget.from_bytes(Signer.of(CLICKS, SETTINGS).opened(token))
        assert (target.url, target.is_personal) == ("https://a.example/?b=1&c=Zoë", True)
        assert '<a href="https://a.example/" data-track="off">' in pages[-1]
        assert "".join(message["list-unsubscribe"].split()).strip("<>") in pages[-1]
    assert len(set(pages)) == 3
    assert len({len(page.split("/o/")) for page in pages}) == 1


@pytest.mark.parametrize(
    "value",
    [
        *("http://mail.acme.example", "mail.acme.example", "ftp://a.example", "https://", "", 3),
        *("https://a.example/?x=1", "https://u:p@a.example", "https://ä.example", "https://a b"),
        *("https://a.example:99999", "https://a.example/<x>", "https://" + "a" * 200),
        *("http://localhost.evil.example", "http://localhost@evil.example"),
    ],
)
def test_an_address_that_links_cannot_begin_with_is_refused(value: object) -> None:
    """Mailbox providers want https, and a header no marks that end it."""
    with pytest.raises(ConfigurationError, match=r"web\.url"):
        checked_web_url(value)


@pytest.mark.parametrize(
    "value", ["https://a.example/", "http://127.0.0.1:8000", "http://[::1]:80"]
)
def test_a_public_address_loses_its_last_slash(value: str) -> None:
    """On loopback plain http will do, for trying it out."""
    assert checked_web_url(value) == value.rstrip("/")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("unsubscribe.mailto", "nobody"), ("unsubscribe.mailto", "a@b.example?cc=c@d.example")),
        *(("unsubscribe.one_click", "yes"), ("tracking.opens", 1), ("tracking.clicks", None)),
    ],
)
def test_a_setting_has_to_be_one(key: str, value: object) -> None:
    """What a tenant sets is refused where it is set, not in the middle of a run."""
    with pytest.raises(ConfigurationError, match=key):
        CHECKS[key](value, key)

"""What comes out for one recipient."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering import Renderer, TemplateSources
from ignition_ext.values import Channel

LETTER = {
    "subject.txt": "Hello {{ first_name }}\n",
    "body.html": '<p title="{{ first_name }}">{{ first_name }}</p>',
    "body.txt": "Hello {{ first_name }}",
    "sms.txt": "Hi {{ first_name }}\n",
}
LINE_BREAKS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def sources(files: dict[str, str]) -> TemplateSources:
    named = {f"letter/{name}": text for name, text in files.items()}
    return TemplateSources(name="letter", version=1, files=named)


def renders(files: dict[str, str]) -> Renderer:
    return Renderer(sources(files), locale="en", timezone="UTC", globals={})


LETTER_RENDERER = renders(LETTER)


@settings(deadline=None)
@given(st.text())
def test_no_subject_ever_holds_a_line_break(name: str) -> None:
    """A value with one is an error for that recipient, also where it could be trimmed away."""
    if any(mark in name for mark in LINE_BREAKS):
        with pytest.raises(TemplateError, match="line break"):
            LETTER_RENDERER.email({"first_name": name})
    else:
        subject = LETTER_RENDERER.email({"first_name": name}).subject
        assert subject == f"Hello {name}".strip()


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("<>&\"'/ abc=\u00e9{}%")))
def test_markup_in_a_value_never_becomes_markup(value: str) -> None:
    """The page has the tags that its source has, whatever the data says."""
    html = LETTER_RENDERER.email({"first_name": value}).html

    assert html is not None
    assert html.count("<") == 2
    assert html.count(">") == 2
    assert html.count('"') == 2


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("<>&\"'{}% abc")))
def test_text_and_subject_are_not_escaped(value: str) -> None:
    """They are no markup: what the data says is what stands there, and is not run as Jinja."""
    email = LETTER_RENDERER.email({"first_name": value})

    assert email.text == f"Hello {value}"
    assert email.subject == f"Hello {value}".strip()


def test_a_missing_value_fails_the_recipient_with_its_name_and_line(renderer) -> None:
    """A message never goes out with a hole."""
    letter = renderer({"sms.txt": "Hi\n\n{{ frist_name }}"})

    with pytest.raises(TemplateError, match="'frist_name' is undefined") as caught:
        letter.sms({"first_name": "Zoë"})

    assert (caught.value.file, caught.value.line) == ("letter/sms.txt", 3)


def test_null_is_neither_printed_nor_true(renderer) -> None:
    """None would read as a word in the message; default and if deal with it."""
    letter = renderer({"sms.txt": "{{ city|default('there') }}{% if city %}!{% endif %}"})
    careless = renderer({"sms.txt": "{{ city }}"})

    assert letter.sms({"city": None}) == "there"
    with pytest.raises(TemplateError, match="empty value"):
        careless.sms({"city": None})


@pytest.mark.parametrize("data", [{}, {"first_name": None}, {"first_name": ""}])
def test_a_default_stands_in_for_what_is_missing(renderer, data) -> None:
    """Missing, NULL and empty are the same to someone who reads the message."""
    letter = renderer(LETTER, defaults={"first_name": "friend"})

    assert letter.sms(data) == "Hi friend"


def test_a_recipient_without_a_required_column_is_refused(renderer) -> None:
    """Before anything is rendered, with the column's name."""
    letter = renderer({"sms.txt": "Hi"}, required=["account_id"])

    assert letter.sms({"account_id": "7"}) == "Hi"
    with pytest.raises(TemplateError, match="'account_id'"):
        letter.sms({"account_id": ""})


def test_templates_see_columns_recipient_and_globals(renderer) -> None:
    """Columns by name, all of them in recipient, and what the run is about."""
    letter = renderer({"sms.txt": "{{ a }} {{ recipient['b c'] }} {{ campaign.name }}"})

    assert letter.sms({"a": 1, "b c": 2, "campaign": "spoof"}) == "1 2 spring"


def test_a_column_cannot_take_the_place_of_what_rendering_needs(renderer) -> None:
    """Column names come from files; none of them reaches the limits or the language."""
    letter = renderer({"sms.txt": "{% for i in [1, 2] %}{{ i|number }}{% endfor %}"})

    assert letter.sms({"@budget": 0, "@voice": 0}) == "12"


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("de-AT", "Servus"),
        ("de_at", "Servus"),
        ("de-DE", "Hallo"),
        ("de", "Hallo"),
        ("fr", "G'day"),
        (None, "G'day"),
        ("not a locale", "G'day"),
    ],
)
def test_the_nearest_language_is_chosen(locale, expected) -> None:
    """The recipient's, its language without the country, the tenant's, then the plain file."""
    files = {
        "sms.txt": "plain",
        "sms.de.txt": "Hallo",
        "sms.de-AT.txt": "Servus",
        "sms.en.txt": "Hello",
        "sms.en-AU.txt": "G'day",
    }
    letter = Renderer(sources(files), locale="en-AU", timezone="UTC", globals={})

    assert letter.sms({}, locale=locale) == expected


def test_the_plain_file_serves_who_has_no_variant(renderer) -> None:
    """Without a variant for the tenant's language either."""
    letter = renderer({"sms.txt": "plain", "sms.tr.txt": "Türkçe"})

    assert letter.sms({}, locale="de") == "plain"
    assert letter.sms({}, locale="tr-TR") == "Türkçe"


def test_text_in_another_language_gives_way_to_the_page(renderer) -> None:
    """Better the page's words without markup than two languages in one mail."""
    letter = renderer(
        {"subject.txt": "S", "body.html": "en", "body.de.html": "<p>Hallo</p>", "body.txt": "en"}
    )

    assert letter.email({}, locale="de").text.strip() == "Hallo"
    assert letter.email({}, locale="fr").text == "en"


def test_a_missing_text_part_is_made_from_the_page(renderer) -> None:
    """With links' targets, without style sheets, scripts or markup."""
    page = (
        "<html><head><style>p{}</style><title>t</title></head><body><h1>A &amp; B</h1>"
        '<p>See <a href="https://acme.example/x">this</a>.</p></body></html>'
    )
    text = renderer({"subject.txt": "S", "body.html": page}).email({}).text

    assert "A & B" in text
    assert "this" in text
    assert "https://acme.example/x" in text
    assert "<" not in text
    assert "p{}" not in text


def test_dates_and_money_follow_the_recipient(renderer) -> None:
    """Language and clock come with each message; the renderer stays the same."""
    letter = renderer(
        {"sms.txt": "{{ at|datetime('short') }} {{ sum|currency(code) }} {{ day|date('long') }}"}
    )
    data = {
        "at": "2026-11-21T23:30:00Z",
        "sum": "1234.5",
        "code": "EUR",
        "day": "2026-11-21",
    }

    german = letter.sms(data, locale="de", timezone="Europe/Berlin")
    american = letter.sms(data, locale="en-US", timezone="America/New_York")
    assert german == "22.11.26, 00:30 1.234,50 € 21. November 2026"
    assert american == "11/21/26, 6:30 PM €1,234.50 November 21, 2026"


def test_numbers_speak_the_language_of_the_file_that_is_used(renderer) -> None:
    """A Russian month in an English sentence helps nobody; another kind of English does."""
    letter = renderer(
        {"sms.txt": "{{ d|date('long') }}", "sms.de.txt": "{{ d|date('long') }}"}, language="en"
    )

    assert letter.sms({"d": "2026-11-21"}, locale="ru") == "November 21, 2026"
    assert letter.sms({"d": "2026-11-21"}, locale="en-GB") == "21 November 2026"
    assert letter.sms({"d": "2026-01-21"}, locale="de-AT") == "21. Jänner 2026"


def test_an_unknown_timezone_falls_back_to_the_tenants(renderer) -> None:
    """A recipient's wrong zone is no reason not to write."""
    letter = renderer({"sms.txt": "{{ '2026-11-21T12:00:00'|time('HH:mm') }}"})

    assert letter.sms({}, timezone="Mars/Olympus") == "12:00"
    assert letter.sms({}, timezone="../../etc/passwd") == "12:00"


def test_a_text_message_has_no_typographic_spaces(renderer) -> None:
    """One no-break space would halve what fits into a segment."""
    text = renderer({"sms.txt": "{{ 1234567|number }} {{ '9.9'|currency('EUR') }}"}).sms(
        {}, locale="fr"
    )

    assert text == "1 234 567 9,90 €"


def test_an_empty_text_message_is_an_error(renderer) -> None:
    """There is nothing to send."""
    with pytest.raises(TemplateError, match="empty"):
        renderer({"sms.txt": "{% if x %}hello{% endif %}"}).sms({"x": False})


def test_what_a_template_is_for_shows_in_its_files() -> None:
    """A layout alone is for nothing."""
    assert sources(LETTER).channels == {Channel.EMAIL, Channel.SMS}
    assert sources({"body.html": ""}).channels == frozenset()
    assert sources({"subject.de.txt": "", "body.de.txt": ""}).channels == {Channel.EMAIL}


@pytest.mark.parametrize("call", ["email", "sms"])
def test_a_part_that_is_not_there_is_named(renderer, call) -> None:
    """The error says which file is missing."""
    with pytest.raises(TemplateError, match=r"\.txt"):
        getattr(renderer({"body.html": "layout"}), call)({})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ 'x'|number }}", "not a number"),
        ("{{ '1e999999999'|number }}", "not a number"),
        ("{{ 'x'|date }}", "not a date"),
        ("{{ 1|currency('<b>') }}", "ISO 4217"),
        ("{{ ''|date }}", "empty"),
        ("{{ nothing|date }}", "'nothing' is undefined"),
        ("{{ 1|plural(one='a') }}", "other"),
        ("{{ [1] }}", "cannot be printed"),
        ("{{ '2026-01-01'|date('" + "y" * 65 + "') }}", "at most 64"),
    ],
)
def test_what_a_filter_cannot_show_is_an_error(renderer, source, words) -> None:
    """Each names what is wrong with the value."""
    with pytest.raises(TemplateError, match=words):
        renderer({"sms.txt": source}).sms({})


@pytest.mark.parametrize(
    ("count", "expected"), [(1, "1 файл"), (3, "3 файла"), (5, "5 файлов"), ("21", "21 файл")]
)
def test_plurals_follow_the_language(renderer, count, expected) -> None:
    """Russian has three forms."""
    source = "{{ n }} {{ n|plural(one='файл', few='файла', many='файлов', other='файла') }}"

    assert renderer({"sms.txt": source}).sms({"n": count}, locale="ru") == expected

"""The sample tenant's templates, rendered for the sample tenant's audience."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import pytest

from ignition_ext.channels.smpp.segment import segment
from ignition_ext.templates.folder import TemplateFolder, find_folders
from ignition_ext.templates.rendering import RenderedEmail, Renderer, TemplateSources
from ignition_ext.templates.rendering.compile import compile_bundle
from ignition_ext.templates.rendering.variables import check_variables

ACME = Path(__file__).parents[3] / "deployments" / "acme"
ZOE = {
    "first_name": "Zoë",
    "city": "Graz",
    "plan": "team",
    "renewal_date": "2027-01-12",
    "amount": "1373.20",
    "currency": "EUR",
    "account_id": "AC-000001",
}


@pytest.fixture(scope="module")
def folders() -> dict[str, TemplateFolder]:
    return {folder.name: folder for folder in find_folders(ACME / "templates")}


@pytest.fixture(scope="module")
def sources(folders: dict[str, TemplateFolder]) -> dict[str, TemplateSources]:
    files = {name: text for folder in folders.values() for name, text in folder.sources.items()}
    made = {}
    for name, folder in folders.items():
        compiled, variables = compile_bundle(name, files, folder.manifest)
        settings = folder.manifest.model_dump(mode="json")
        made[name] = TemplateSources(
            name=name, version=1, files=compiled, settings=settings, variables=variables
        )
    return made


def renderer(sources: dict[str, TemplateSources], name: str) -> Renderer:
    return Renderer(sources[name], locale="en", timezone="Europe/Berlin", globals={})


def email(sources: dict[str, TemplateSources], locale: str) -> RenderedEmail:
    return renderer(sources, "newsletter").email(ZOE, locale=locale)


def people() -> list[dict[str, str]]:
    with (ACME / "customers.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row.get("account_id")]


def test_the_sample_audience_has_every_column(sources) -> None:
    """So that the sample campaigns can be applied."""
    columns = list(people()[0])

    for template in sources.values():
        assert check_variables(template, columns) == []


def test_every_sample_recipient_can_be_written_to(sources) -> None:
    """In each locale of the audience; no value is missing, no subject has a line break."""
    newsletter, reminder = renderer(sources, "newsletter"), renderer(sources, "reminder")
    seen: dict[str, dict[str, str]] = {}
    for person in people():
        seen.setdefault(person["locale"], person)
    assert len(seen) > 15

    for locale, person in seen.items():
        mail = newsletter.email(person, locale=locale, timezone=person["timezone"])
        text = reminder.sms(person, locale=locale, timezone=person["timezone"])
        assert person["account_id"] in mail.text
        assert mail.html
        assert person["account_id"] in text
        assert 1 <= len(segment(text).parts) <= 3


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-US", ("Hello Zoë,", "January 12, 2027", "€1,373.20", 'dir="ltr"', 'lang="en"')),
        ("de-AT", ("Guten Tag Zoë,", "12. Jänner 2027", "1.373,20", 'lang="de"')),
        ("ar-EG", ("مرحبًا Zoë،", "يناير", 'dir="rtl"', 'lang="ar"')),
    ],
)
def test_the_newsletter_speaks_three_languages(sources, locale, words) -> None:
    """One layout, one letter, the sentences of each language."""
    mail = email(sources, locale)

    assert mail.html is not None
    for word in words:
        assert word in mail.html
    assert "Zoë" in mail.subject
    assert words[0] in mail.text


def test_the_newsletters_styles_are_in_its_elements(sources) -> None:
    """Only what a style attribute cannot say is left in a sheet."""
    html = email(sources, "de").html or ""

    assert html.count("<style") == 1
    assert "prefers-color-scheme: dark" in html
    assert '<body style="margin: 0;' in html
    assert html.count('font-weight: 600;color: #24313f;text-align: end;"') == 3
    assert len(html.encode()) < 20_000


@pytest.mark.parametrize(
    ("locale", "encoding", "words"),
    [
        ("en-GB", "gsm7", ("[ACME]", "€1,373.20")),
        ("de", "gsm7", ("[ACME]", "12 Jan 2027")),
        ("tr-TR", "ucs2", ("yenilenecektir", "Ocak", "1.373,20")),
        ("es-MX", "ucs2", ("🔔", "🙌🏽", "12 de enero")),
    ],
)
def test_the_reminder_shows_the_alphabets(sources, locale, encoding, words) -> None:
    """GSM-7 with extension characters, Turkish, and emoji."""
    person = {**ZOE, "first_name": "Günther"}
    text = renderer(sources, "reminder").sms(person, locale=locale)

    assert segment(text).encoding == encoding
    for word in words:
        assert word in text


def test_languages_have_the_same_files(folders) -> None:
    """No part of the newsletter falls back to English for a language that it speaks."""
    wanted = {
        f"{part}{language}.{kind}"
        for (part, kind), language in product(
            [("subject", "txt"), ("body", "html"), ("body", "txt")], ["", ".de", ".ar"]
        )
    }

    assert wanted <= folders["newsletter"].files.keys()

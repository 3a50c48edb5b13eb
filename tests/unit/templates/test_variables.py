"""The variables that a template needs are found before the first message is."""

from __future__ import annotations

import pytest

from ignition_ext.templates.rendering import TemplateSources
from ignition_ext.templates.rendering.variables import check_variables, needed_columns
from ignition_ext.values import Channel


def found(source: str, columns: tuple[str, ...] = ("known",)) -> list[tuple[str, int]]:
    sources = TemplateSources(name="t", version=1, files={"t/sms.txt": source})
    return [(problem.name, problem.line) for problem in check_variables(sources, columns)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ known }}\n{{ lost }}", [("lost", 2)]),
        ("{{ recipient.lost }}{{ recipient.known }}", [("recipient.lost", 1)]),
        ("{{ recipient['lost'] }}{{ recipient.get('lost') }}", [("recipient.lost", 1)]),
        ("{% if lost %}{% endif %}", [("lost", 1)]),
        ("{{ lost|upper }}{{ 'x'|replace('x', lost2) }}", [("lost", 1), ("lost2", 1)]),
        ("{% for i in known %}{{ i }}{{ loop.index }}{% endfor %}{{ i }}", [("i", 1)]),
        ("{% for i in lost %}{% else %}{{ i }}{% endfor %}", [("i", 1), ("lost", 1)]),
        ("{% for a, b in known.items() %}{{ a }}{{ b }}{% endfor %}", []),
        ("{{ loop }}", [("loop", 1)]),
        ("{% set x = lost %}{{ x }}", [("lost", 1)]),
        ("{% set x %}{{ lost }}{% endset %}{{ x }}", [("lost", 1)]),
        ("{% if known %}{% set x = 1 %}{% endif %}{{ x }}", []),
        ("{% for i in [1] %}{% set x = 1 %}{% endfor %}{{ x }}", [("x", 1)]),
        ("{% macro m(a, b=lost) %}{{ a }}{{ b }}{{ deep }}{% endmacro %}{{ m(1) }}", None),
        ("{% with a = lost %}{{ a }}{% endwith %}{{ a }}", [("a", 1), ("lost", 1)]),
        ("{% call(x) m() %}{{ x }}{% endcall %}", [("m", 1)]),
        ("{% filter upper %}{{ lost }}{% endfilter %}", [("lost", 1)]),
        ("{% set n = namespace(x=1) %}{% set n.x = 2 %}{{ n.x }}{{ range(3)|list }}", []),
        ("{{ campaign.anything }}{{ tenant.name }}{{ run.id }}", []),
        # guards
        ("{% if lost is defined %}{{ lost }}{% endif %}", []),
        ("{% if lost is defined %}{% else %}{{ lost }}{% endif %}", [("lost", 1)]),
        ("{% if lost is not defined %}-{% else %}{{ lost }}{% endif %}", []),
        ("{% if lost is undefined or lost == 1 %}{% endif %}", []),
        ("{% if lost is defined and lost and known %}{{ lost }}{% endif %}", []),
        ("{% if lost is defined or known %}{{ lost }}{% endif %}", [("lost", 1)]),
        ("{% if recipient.lost is defined %}{{ recipient.lost }}{% endif %}", []),
        ("{% if lost is defined %}{% endif %}{{ lost }}", [("lost", 1)]),
        ("{{ lost if lost is defined else other }}", [("other", 1)]),
        ("{{ lost|default('x') }}{{ recipient.lost|d(other) }}", [("other", 1)]),
        ("{{ (lost|upper)|default('x') }}", [("lost", 1)]),
    ],
)
def test_what_jinja_would_miss_is_found(source, expected) -> None:
    """Each with its line, as rendering would fail on it, and nothing that would not fail."""
    if expected is None:
        expected = [("deep", 1), ("lost", 1)]

    assert found(source) == expected


FILES = {
    "base/body.html": "{{ a }}\n{% block one %}{{ b }}{% endblock %}{% block two %}\n{{ c }}"
    "{% endblock %}",
    "t/subject.txt": "{{ s }}",
    "t/subject.de.txt": "{{ s }}{{ de }}",
    "t/body.html": '{% extends "base/body.html" %}{% import "m.html" as m %}{{ unseen }}\n'
    "{% set mine = 1 %}\n{% block one %}{{ d }}{{ mine }}{% endblock %}\n"
    '{% block two %}{{ super() }}{{ m.x(1) }}{% include "i.html" %}{% endblock %}',
    "t/m.html": "{% macro x(y) %}{{ y }}{{ e }}{% endmacro %}",
    "t/i.html": "\n\n{{ f }}{{ mine }}",
    "t/sms.txt": "{{ g }}",
}


def test_layouts_blocks_macros_and_includes_are_followed() -> None:
    """A block that is replaced needs nothing, one that is called by super does."""
    sources = TemplateSources(
        name="t", version=1, files=FILES, settings={"defaults": {"s": 1}, "required": ["h"]}
    )

    problems = {(one.file, one.line, one.name) for one in check_variables(sources, ())}
    assert problems == {
        ("base/body.html", 1, "a"),
        ("base/body.html", 3, "c"),
        ("t/body.html", 3, "d"),
        ("t/m.html", 1, "e"),
        ("t/i.html", 3, "f"),
        ("t/sms.txt", 1, "g"),
        ("t/subject.de.txt", 1, "de"),
        ("t/template.yaml", 0, "h"),
    }


def test_one_channel_needs_only_its_own_files() -> None:
    """A campaign by SMS does not fail over the email's columns."""
    sources = TemplateSources(name="t", version=1, files=FILES)

    names = [one.name for one in check_variables(sources, (), channel=Channel.SMS)]
    assert names == ["g"]


def test_the_columns_of_a_template_are_listed() -> None:
    """For people, and for the database."""
    columns = needed_columns("t", FILES | {"t/sms.txt": "{{ recipient.g }}"}, {"required": ["h"]})

    assert columns == ("a", "c", "d", "de", "e", "f", "g", "h", "s")

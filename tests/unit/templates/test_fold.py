"""A folded template says what Jinja says of the file, or is not folded."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Template
from jinja2.runtime import Context
from markupsafe import Markup, escape

from ignition_ext.templates.rendering.bounded import BUDGET, Budget, gather, printed_markup
from ignition_ext.templates.rendering.filters import VOICE, Voice, speech_of
from ignition_ext.templates.rendering.fold import fold
from ignition_ext.templates.rendering.sandbox import TemplateEnvironment

DATA = {"a": "A & A", "b": "B", "items": [1, 2], "empty": None}


def shown(template: Template) -> str:
    """What a template shows, or that it fails."""
    voice = Voice(speech_of(Locale("en")), ZoneInfo("UTC"))
    values = {**template.environment.globals, **DATA, VOICE: voice, BUDGET: Budget()}
    context = Context(template.environment, values, template.name, template.blocks)
    try:
        return "".join(gather(template.root_render_func(context)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def both(files: dict[str, str], file: str) -> tuple[str, str | None]:
    environment = TemplateEnvironment(files)
    folded = fold(environment, files, file)
    return shown(environment.get_template(file)), None if folded is None else shown(folded)


FILES = {
    "base/body.html": "{% from 'm.html' import box %}{% set s = b %}"
    "<{% block title %}T{% endblock %}>{% block content %}{% endblock %}"
    "{% include 'foot.html' %}{{ s }}",
    "base/m.html": "\n{% macro box(x, y='y') %}[{{ x }}{{ y }}{{ 9|number }}]{% endmacro %}",
    "base/foot.html": "foot {{ a }}",
}


@pytest.mark.parametrize(
    "letter",
    [
        "{% extends 'base/body.html' %}",
        "{% extends 'base/body.html' %}lost{% set b = 'mine' %}"
        "{% block content %}{{ b }}{{ box(a) }}{% endblock %}",
        "before{% extends 'base/body.html' %}{% block title %}{{ a }}{% endblock %}",
        "{% extends 'base/body.html' %}{% from 'base/m.html' import box %}{% set c = box(a, b) %}"
        "{% block title %}{% set t = c %}{{ t }}{% endblock %}",
        "{% extends 'base/body.html' %}{% block content %}{% for i in items %}{{ loop.index }}"
        "{{ box(i) }}{% if i > 1 %}{{ a }}{% endif %}{% endfor %}{% endblock %}",
        "{% extends 'base/body.html' %}{% block content %}{{ gone }}{% endblock %}",
        "{% extends 'base/body.html' %}{% block content %}{{ empty }}{% endblock %}",
        "no layout {{ a }}{% include 'base/foot.html' %}",
    ],
)
def test_letters_are_folded(letter: str) -> None:
    """What letters are made of folds, and shows the same or fails the same."""
    jinja, folded = both({**FILES, "t/body.html": letter}, "t/body.html")

    assert folded == jinja


@pytest.mark.parametrize(
    "letter",
    [
        "{% extends 'base/body.html' %}{% block title %}{{ super() }}!{% endblock %}",
        "{{ self.x() }}{% block x %}x{% endblock %}",
        "{% for i in items %}{% block x %}{{ i }}{% endblock %}{% endfor %}",
        "{% for i in items %}{% block x scoped %}{{ i }}{% endblock %}{% endfor %}",
        "{% block x %}{% set a = 1 %}{% block y %}{{ a }}{% endblock %}{% endblock %}",
        "{% block x %}{{ a }}{% endblock %}{% set a = 1 %}",
        "{% if b %}{% set a = 1 %}{% endif %}{% block x %}{{ a }}{% endblock %}",
        "{% extends 'base/body.html' %}{% if b %}{% set a = 1 %}{% endif %}",
        "{% if b %}{% extends 'base/body.html' %}{% endif %}",
        "{% block x required %}{% endblock %}",
        "{% extends 't/body.html' %}",
        "{% extends 'base/gone.html' %}",
        "{% include 'm.txt' %}",
    ],
)
def test_what_needs_a_closer_look_is_left_to_jinja(letter: str) -> None:
    """Names whose meaning would change, and what cannot be shown at all."""
    assert both({**FILES, "t/body.html": letter, "t/m.txt": ""}, "t/body.html")[1] is None


_SHOWN = [
    "-",
    "{{ a }}",
    "{{ b }}",
    "{{ m(a) }}",
    "{{ a ~ b }}",
    "{{ i|default('no') }}",
    "{{ z }}",
]
_GIVING = [
    *("{% set a = 'S' %}", "{% set b = a %}", "{% set z = b %}", "{% from 'm.html' import m %}"),
    *("{% from 'n.html' import m %}", "{% import 'm.html' as m %}", "{% set m = a %}"),
    *("{% if a %}{% set z = 1 %}{% endif %}", "{% macro m(x) %}({{ x }}{{ b }}){% endmacro %}"),
]
_WHOLE = ["{% include 'i.html' %}", "{% include 'j.html' %}", "{% from 'm.html' import m as z %}"]
_PART = st.sampled_from([*_SHOWN, *_SHOWN, *_GIVING, *_WHOLE])


def _around(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, max_size=3).map("".join)
    return st.one_of(
        body.map(lambda text: f"{{% if b %}}{text}{{% endif %}}"),
        body.map(lambda text: f"{{% for i in items %}}{text}{{% endfor %}}"),
        body.map(lambda text: f"{{% with a = 'W' %}}{text}{{% endwith %}}"),
        st.tuples(st.sampled_from("xyw"), body).map(
            lambda block: f"{{% block {block[0]} %}}{block[1]}{{% endblock %}}"
        ),
        st.tuples(st.sampled_from("xyw"), body).map(
            lambda block: f"{{% block {block[0]} %}}{block[1]}{{% endblock %}}"
        ),
    )


_BODY = st.lists(st.recursive(_PART, _around, max_leaves=6), max_size=6).map("".join)


@settings(max_examples=400, deadline=None)
@given(layout=_BODY, middle=_BODY, letter=_BODY, included=_BODY, start=st.sampled_from(["", "p"]))
@example("{% block x %}{{ a }}{% endblock %}", "{% set a = 1 %}", "{% set a = 2 %}", "", "")
@example("{{ z }}{% set z = 1 %}{% block x %}{{ z }}{% endblock %}", "", "{% set z = 2 %}", "", "")
@example("{% block x %}{{ m(a) }}{% endblock %}", "", "{% from 'n.html' import m %}", "", "")
def test_folded_or_not_it_says_the_same(
    layout: str, middle: str, letter: str, included: str, start: str
) -> None:
    """Three files that extend each other, with whatever Jinja lets stand in them."""
    files = {
        "t/layout.html": layout,
        "t/middle.html": "{% extends 'layout.html' %}" + middle,
        "t/letter.html": start + "{% extends 'middle.html' %}" + letter,
        "t/m.html": "{% macro m(x) %}<{{ x }}>{% endmacro %}",
        "t/n.html": "{% macro m(x) %}<{{ x }}{{ b }}>{% endmacro %}",
        "t/i.html": "i{{ a }}{{ i|default('-') }}",
        "t/j.html": included.replace("{% include 'j.html' %}", ""),
    }
    environment = TemplateEnvironment(files)
    try:
        jinja = shown(environment.get_template("t/letter.html"))
    except Exception:
        # A block that stands in a file twice, or the like: nothing is published with it.
        return

    folded = fold(environment, files, "t/letter.html")

    assert folded is None or _kind(shown(folded)) == _kind(jinja)


def _kind(text: str) -> str:
    """The text; of a failure only that it is one, for Jinja is asked again for its words."""
    return "fails" if ": " in text and text.partition(":")[0].endswith("Error") else text


@given(st.one_of(st.text(), st.text(st.sampled_from("<>&\"'a"))))
def test_markup_is_escaped_as_jinja_does(value: str) -> None:
    """Character for character what markupsafe writes; its own markup is left alone."""
    assert printed_markup(value) == escape(value)
    assert printed_markup(Markup(value)) == value

"""Style sheets are written into elements, and nothing else in a source changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering import Renderer, TemplateSources
from ignition_ext.templates.rendering.compile import compile_bundle
from ignition_ext.templates.rendering.manifest import Manifest
from ignition_ext.templates.rendering.sandbox import TemplateEnvironment
from ignition_ext.templates.rendering.spans import find_spans

SHEET = "<style>p, td, .a { color: red; font-family: 'Segoe UI' }</style>"
WRITTEN = " style=\"color: red;font-family: 'Segoe UI';\""


def compiled(files: dict[str, str] | str, name: str = "t/body.html") -> str:
    named = {"t/body.html": files} if isinstance(files, str) else files
    return compile_bundle("t", named, Manifest())[0][name]


def test_a_rule_is_written_into_its_elements_and_the_sheet_left_out() -> None:
    """What is said in full need not be sent twice."""
    assert compiled(f"{SHEET}<p>x</p><b>y</b>") == f"{{##}}<p{WRITTEN}>x</p><b>y</b>"


def test_rows_in_a_loop_stay_in_their_table() -> None:
    """An HTML parser would move the tags of a loop between two rows out of the table."""
    source = f"{SHEET}<table>{{% for i in x %}}<tr><td>{{{{ i }}}}</td></tr>{{% endfor %}}</table>"

    assert compiled(source) == source.replace(SHEET, "{##}").replace("<td>", f"<td{WRITTEN}>")


@pytest.mark.parametrize(
    "source",
    [
        "<p title=\"{{ '\\\"' ~ '>' }}\">{{ '}}' }}</p>",
        '<p title=\'{{ {"a": {"b": 1}}["a"]["b"] }}\' {% if x %}class="b"{% endif %}>t</p>',
        "<!-- <p>{{ x }}</p> --><p>{# <p> #}</p>",
        "{% raw %}<p>{{ not jinja }}</p>{% endraw %}<p>x</p>",
        "<p\n  {%- if x %} hidden {%- endif %}\n>x</p>",
        "<!--[if mso]><table><tr><p><![endif]--><p>x</p>",
        "<script>if (a<p>b) {}</script><p>x</p>",
        "a < b <p>x</p> <3 {{ x }}",
    ],
)
def test_every_other_character_stays(source) -> None:
    """Without the written styles the compiled source is the one that was pushed."""
    result = compiled(SHEET + source)

    assert WRITTEN in result
    assert result.replace(WRITTEN, "").replace(SHEET, "").replace("{##}", "") == source


PIECES = [
    *("<p>", "</p>", "<table>", "</table>", "<tr>", "<td class='a'>", "</td>", "<b class=a>"),
    *("{{ x }}", "{{ '<p>' }}", '{{ "}}" }}', "{{- y -}}", "{# <p> #}", "text ", "&amp;", "\n"),
    *("{% set z = '<td>' %}", "<!-- c -->", "<p style='top:0'>", '<p style="left:{{ x }}">', "<"),
    *('<a href="{{ x }}">', "</a>", "<br/>", '<td title="{{ x }} > {{ y }}">', "\u00a0", "<p"),
]
BODIES = st.recursive(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    lambda inner: st.one_of(
        inner.map(lambda body: f"{{% if x %}}{body}{{% else %}}{body}{{% endif %}}"),
        inner.map(lambda body: f"{{%- for i in [1] -%}}{body}{{%- endfor -%}}"),
        inner.map(lambda body: f"{{% set b %}}{body}{{% endset %}}{{{{ b }}}}"),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(BODIES)
def test_jinja_survives_any_markup(body: str) -> None:
    """The Jinja of a page is the same before and after, and so is all of its text."""
    result = compiled_or_refused("<style>p, td, .a { color: red }</style>" + body)

    written = jinja(result)
    assert written[len(written) - len(jinja(body)) :] == jinja(body)
    assert unstyled(result).endswith(unstyled(body))


@settings(deadline=None)
@given(BODIES)
def test_a_written_style_changes_nothing_but_style(body: str) -> None:
    """Rendered with and without, the pages differ in style attributes only."""
    source = "<style data-css-inline='keep'>p, td, .a { color: red }</style>" + body
    result = compiled_or_refused(source)

    assert unstyled(rendered(result)) == unstyled(rendered(source))


def compiled_or_refused(source: str) -> str:
    try:
        return compiled(source)
    except TemplateError as error:
        assume("no quotes" not in error.message)  # an open tag before an expression
        raise


def jinja(source: str) -> list[str]:
    spans = find_spans(TemplateEnvironment({}), source)
    return [source[span.start : span.end] for span in spans if span.words]


def unstyled(text: str) -> str:
    text = re.sub(r' style="color: red;"', "", text)
    return re.sub(r"""(style=["'])color: red; """, r"\1", text)


def rendered(source: str) -> str:
    files = {"t/subject.txt": "S", "t/body.html": source, "t/body.txt": "-"}
    renderer = Renderer(
        TemplateSources(name="t", version=1, files=files), locale="en", timezone="UTC", globals={}
    )
    html = renderer.email({"x": "<v>", "y": "w"}).html
    assert html is not None
    return html


def test_a_style_by_hand_wins_over_the_sheet() -> None:
    """It stands behind what the sheet says, as in the cascade, in its own quotes."""
    result = compiled(f"{SHEET}<p style='color: {{{{ c }}}}'>x</p><p style=top:0>y</p>")

    assert "style='color: red;font-family: &#39;Segoe UI&#39;; color: {{ c }}'" in result
    assert "style=\"color: red;font-family: 'Segoe UI'; top:0\"" in result


def test_values_may_stand_in_a_sheet() -> None:
    """A brand colour goes into the elements as the expression that it is."""
    source = "<style>p { color: {{ tenant.color }}; margin: {{ m }}px }</style><p>x</p>"

    assert compiled(source) == '{##}<p style="color: {{ tenant.color }};margin: {{ m }}px;">x</p>'


def test_lines_keep_their_numbers() -> None:
    """An error while rendering names the line that the author knows."""
    result = compiled("<style>\np { color: red }\n\n</style>\n<p>{{ gone }}</p>")

    assert "<style" not in result
    with pytest.raises(TemplateError) as caught:
        rendered(result)
    assert caught.value.line == 5


LAYOUT = """<html><head><style>{% include "s.css" %}</style></head>
<body class="page">{% block main %}<p class="a">base</p>{% endblock %}</body></html>"""


def test_styles_cross_inheritance_includes_and_macros() -> None:
    """Each element gets what its place in the finished page gives it."""
    files = {
        "base/body.html": LAYOUT,
        "base/s.css": ".page .a { color: red }\n.box > .a { top: 0 }",
        "base/m.html": '{% macro link(t) %}<i class="a">{{ t }}</i>{% endmacro %}',
        "t/body.html": '{% extends "base/body.html" %}{% from "base/m.html" import link as l %}\n'
        '{% block main %}{{ super() }}<div class="box">{{ l("x") }}</div>'
        '{% include "part.html" %}{% endblock %}',
        "t/part.html": '<u class="a">x</u>',
    }
    bundle, _ = compile_bundle("t", files, Manifest())

    assert '<p style="color: red;" class="a">' in bundle["base/body.html"]
    assert '<i style="color: red;top: 0;" class="a">' in bundle["base/m.html"]
    assert bundle["t/part.html"] == '<u style="color: red;" class="a">x</u>'
    assert "<style" not in bundle["base/body.html"]


def test_what_depends_on_the_place_stays_in_the_sheet() -> None:
    """An element of two places gets what both agree on, and the sheet stays for the rest."""
    files = {
        "t/body.html": "<style>p { top: 0 } .x p { color: red }</style>"
        '<div class="x">{% include "p.html" %}</div>{% include "p.html" %}',
        "t/p.html": "<p>x</p>",
    }
    bundle, _ = compile_bundle("t", files, Manifest())

    assert bundle["t/p.html"] == '<p style="top: 0;">x</p>'
    assert ".x p { color: red }" in bundle["t/body.html"]


def test_the_first_pass_of_a_loop_does_not_speak_for_all() -> None:
    """A rule for the first row is left to the sheet."""
    result = compiled(
        "<style>i:first-child { color: red }</style>"
        "<p>{% for x in y %}<i>{{ x }}</i>{% endfor %}</p>"
    )

    assert "<i>{{ x }}</i>" in result
    assert "<style>" in result


@pytest.mark.parametrize(
    "attribute",
    ['class="{{ c }}"', '{% if c %}class="a"{% endif %}', 'class="{% if c %}a{% endif %}"'],
)
def test_a_class_that_depends_on_data_is_left_to_the_sheet(attribute) -> None:
    """It is not known when the template is published."""
    source = f"<style>.a {{ color: red }}</style><p {attribute}>x</p>"

    assert compiled(source) == source


@pytest.mark.parametrize(
    "sheet",
    [
        "<style>@media (max-width: 9px) { p { top: 0 } }</style>",
        "<style>p:hover { top: 0 }</style>",
        "<style media=print>p { top: 0 }</style>",
        "<style data-css-inline=ignore>p { top: 0 }</style>",
        "<style>{% if x %}p { top: 0 }{% endif %}</style>",
    ],
)
def test_what_a_style_attribute_cannot_say_stays(sheet) -> None:
    """Media, hovering, and rules under a condition."""
    assert compiled(f"{sheet}<p>x</p>") == f"{sheet}<p>x</p>"


def test_no_file_and_no_network_is_touched(tmp_path: Path) -> None:
    """A sheet elsewhere is none of ours: the tag stays, nothing is read."""
    secret = tmp_path / "secret.css"
    secret.write_text("p { color: red }")
    source = (
        f'<link rel="stylesheet" href="file://{secret}"><link rel=stylesheet href="{secret}">'
        f'<style>@import url("file://{secret}");</style><p>x</p>'
    )

    assert compiled(source) == source


def test_inlining_can_be_turned_off() -> None:
    """The source is then stored as it is."""
    source = f"{SHEET}<p>x</p>"
    bundle, _ = compile_bundle("t", {"t/body.html": source}, Manifest(inline_css=False))

    assert bundle == {"t/body.html": source}

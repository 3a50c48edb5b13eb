"""Templates come from tenants: what they must not reach, and what they must not use up."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.compile import compile_bundle
from ignition_ext.templates.rendering.limits import MAX_ITERATIONS, MAX_OUTPUT_CHARS
from ignition_ext.templates.rendering.manifest import Manifest

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ [''.__class__]|map(attribute='__name__')|first }}",
    "{{ ['']|map(attribute='__class__')|join }}",
    "{{ {}|map('attr', '__class__')|list }}",
    "{{ ''.join.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ range.__class__ }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{0.__class__}'['format']('') }}",
    "{{ '%(a)s'.format_map({}) }}",
    "{{ ('{0.__class__.__mro__}'|format('')) }}",
    "{{ ('%s' % ''.__class__) }}",
    "{{ recipient.__class__ }}",
    "{{ recipient.update({'a': 1}) }}",
    "{{ recipient.pop('first_name') }}",
    "{{ recipient.clear() }}",
    "{{ campaign.update({'name': 'x'}) }}",
    "{{ [1].append(2) }}",
    "{{ config.items() }}",
    "{{ request.application.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{% for c in ().__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{% set x = ''.__class__ %}{{ x }}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% for x in [1] %}{{ loop._iterator.__class__ }}{% endfor %}",
    "{{ day.strftime('%10000000Y') }}",
    "{{ day.__reduce__() }}",
    "{{ when.tzinfo.utcoffset(when) }}",
    "{{ day.today() }}",
    "{% include '/etc/passwd' %}",
    "{% include '../../../etc/passwd' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends name %}",
    "{% include [name, 'b'] %}",
    "{{ first_name|safe }}",
    "{% autoescape false %}{{ first_name }}{% endautoescape %}",
    "{% do recipient.clear() %}",
    "{% debug %}",
]

BOMBS = [
    "{{ 'a' * 100000000 }}",
    "{{ 100000000 * 'a' }}",
    "{{ [0] * 100000000 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ 2 ** 100000000 }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a\t'.expandtabs(1000000000) }}",
    "{{ 'a'|indent(1000000000) }}",
    "{{ 1.5|round(1000000000, 'floor') }}",
    "{{ range(1000000000)|join }}",
    "{{ [1]|batch(1000000000, 0)|list }}",
    "{{ lipsum(n=1000000) }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{% set n = namespace(s='aaaaaaaa') %}{% for i in r %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n = namespace(s='aaaaaaaa') %}{% for i in r %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(s='aaaaaaaa') %}{% for i in r %}"
    "{% set n.s = n.s|replace('a', 'aaaaaaaa') %}{% endfor %}",
    "{% set n = namespace(s='aaaaaaaa') %}{% for i in r %}"
    "{% set t %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = t %}{% endfor %}",
    "{% set n = namespace(s=['a']) %}{% for i in r %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(s=['a']) %}{% for i in r %}{% set n.s = [n.s, n.s] %}{% endfor %}",
    "{% set n = namespace(s={}) %}{% for i in r %}{% set n.s = {'a': n.s, 'b': n.s} %}{% endfor %}",
    "{% set n = namespace(i=3) %}{% for i in range(99) %}{% set n.i = n.i * n.i %}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for i in tree recursive %}{{ loop(tree) }}{% endfor %}",
    "{% for i in range(9999) %}" + "a" * 200 + "{% endfor %}",
    "{% set a = [0] * 10000 %}{{ ([a] * 10000)|sum(start=[])|length }}",
    "{% set n = namespace(s=[]) %}{% set a = [0] * 9999 %}{% for i in r %}"
    "{% set n.s = n.s + [a] %}{% endfor %}{{ n.s|sum(start=[])|length }}",
    "{% set a = [0] * 10000 %}{% set x = [a] * 10000 %}{{ [x]|length }}",
    "{% set a = [0] * 10000 %}{% set x = [a] * 9 + [a] * 9 %}{{ x == x }}",
    "{{ [[0] * 10000, [[0] * 10000] * 5] * 2 }}",
    "{% set t = 'a ' * 5000 %}{% set t = t ~ t ~ t ~ t ~ t ~ t ~ t ~ t %}"
    "{{ ([t] * 10000)|map('upper')|list|length }}",
    "{{ (['a' * 10000] * 2000)|map('list')|list|length }}",
]


@pytest.mark.parametrize("kind", ["body.html", "sms.txt"])
@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_gets_out_of_the_sandbox(renderer, source, kind) -> None:
    """Each of these has got out of some sandbox; here it is an error and changes nothing."""
    data = {"first_name": "<b>", "day": date(2026, 1, 1), "when": datetime(2026, 1, 1, tzinfo=UTC)}
    before = dict(data)

    with pytest.raises(TemplateError):
        render(renderer, kind, source, data)

    assert data == before


@pytest.mark.parametrize("source", BOMBS)
def test_no_template_uses_up_the_machine(renderer, source) -> None:
    """Each would take gigabytes or hours; it is refused while it is small."""
    with pytest.raises(TemplateError):
        render(renderer, "sms.txt", source, {"tree": [1], "r": range(99)})


def test_what_letters_need_is_allowed(renderer) -> None:
    """The lists of what may be used are not too short."""
    source = """{% macro row(a, b='-') %}{{ a }}:{{ b }};{% endmacro %}
{% set n = namespace(total=0) %}
{% for item in items if item.price %}
{{ loop.index }}/{{ loop.length }}{{ row(item.name|upper, item['price']) }}
{% set n.total = n.total + item.price %}
{% endfor %}
{{ n.total }} {{ first_name.title() }} {{ 'a,b'.split(',')|join('+') }} {{ 7 % 4 }} {{ 2 ** 10 }}
{{ recipient.get('gone', 'none') }} {{ items|map(attribute='name')|join(', ') }} {{ '-' * 5 }}
{{ row('x') }}{{ [3, 1]|sort|first }} {{ {'k': 1}.items()|list|length }}"""
    items = [{"name": "tea", "price": 2}, {"name": "gift", "price": 0}, {"name": "jam", "price": 3}]

    text = renderer({"sms.txt": source}).sms({"items": items, "first_name": "zoë"})

    expected = "1/2TEA:2; 2/2JAM:3; 5 Zoë a+b 3 1024 none tea, gift, jam ----- x:-;1 1"
    assert " ".join(text.split()) == expected


def test_limits_are_counted_for_each_message(renderer) -> None:
    """One recipient's long list takes nothing from the next; the call of range counts as well."""
    letter = renderer({"sms.txt": "{% for i in range(n) %}{% endfor %}x"})

    for _ in range(3):
        assert letter.sms({"n": MAX_ITERATIONS - 1}) == "x"
    with pytest.raises(TemplateError, match=str(MAX_ITERATIONS)):
        letter.sms({"n": MAX_ITERATIONS + 1})


def test_output_is_counted_while_it_is_made(renderer) -> None:
    """A value from outside is bounded as well."""
    letter = renderer({"sms.txt": "{% for i in range(20) %}{{ text }}{% endfor %}"})

    assert len(letter.sms({"text": "x" * 1000})) == 20_000
    with pytest.raises(TemplateError, match=str(MAX_OUTPUT_CHARS)):
        letter.sms({"text": "x" * (MAX_OUTPUT_CHARS // 10)})


def test_a_text_file_cannot_be_taken_into_a_page() -> None:
    """Its values are not escaped: they would become markup."""
    files = {"t/body.html": "<p>\n{% include 'x.txt' %}</p>", "t/x.txt": "{{ v }}"}

    with pytest.raises(TemplateError, match="another kind") as caught:
        compile_bundle("t", files, Manifest())

    assert (caught.value.file, caught.value.line) == ("t/body.html", 2)


@pytest.mark.parametrize(
    "source",
    [
        "<p title={{ v }}>",
        "<p {{ v }}>",
        "<p title=a{{ v }}b>",
        "<p\n a=b {{v}}='x'>",
        "<{{ v }}>",
        "</{{ v }}>",
        "<h{{ v }}>",
    ],
)
def test_a_value_in_a_tag_needs_quotes(source) -> None:
    """Escaping cannot keep a blank from ending a value without them."""
    with pytest.raises(TemplateError, match="no quotes"):
        compile_bundle("t", {"t/body.html": source}, Manifest())


def render(renderer, kind: str, source: str, data: dict[str, object]) -> object:
    """Compile as publishing does, then render."""
    files = {f"letter/{kind}": source, "letter/subject.txt": "S"}
    compile_bundle("letter", files, Manifest())
    letter = renderer(files)
    return letter.sms(data) if kind == "sms.txt" else letter.email(data)

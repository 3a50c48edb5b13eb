"""The Jinja environment that tenants' templates run in.

Jinja's immutable sandbox, narrowed from a list of what is forbidden to lists of what is allowed:
these filters, these attributes of these types. A missing variable is an error (a message never
goes out with a hole), HTML is escaped, and :mod:`.bounded` holds the limits.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from datetime import date, datetime
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, TemplateNotFound, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.filters import FILTERS
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

from ignition_ext.templates.rendering import bounded
from ignition_ext.templates.rendering.filters import LOCALE_FILTERS
from ignition_ext.templates.rendering.guard import COUNTED, JOINED, SHALLOW, guard

_TEXT_METHODS = frozenset(
    {"upper", "lower", "title", "capitalize", "casefold", "strip", "lstrip", "rstrip"}
    | {"startswith", "endswith", "removeprefix", "removesuffix", "split", "rsplit"}
    | {"splitlines", "partition", "rpartition", "find", "rfind", "count", "isdigit"}
    | {"isalpha", "isalnum", "isupper", "islower", "isspace", "isnumeric"}
)
_DATE_FIELDS = frozenset({"year", "month", "day", "isoformat", "weekday", "isoweekday"})
_ALLOWED: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, _TEXT_METHODS),
    (Mapping, frozenset({"keys", "values", "items", "get"})),
    ((list, tuple), frozenset({"index", "count"})),
    (datetime, _DATE_FIELDS | {"hour", "minute", "second", "date", "time"}),
    (date, _DATE_FIELDS),
    (Cycler, frozenset({"next", "reset", "current"})),
    (Macro, frozenset({"name", "arguments"})),
    (BlockReference, frozenset({"super"})),
)
"""Attributes by type, first match decides; a width or format argument must not hide in any."""

_OPEN_TYPES = (LoopContext, Namespace)
"""Jinja's own objects whose public attributes are plain values."""

_PLAIN_FILTERS = (
    *("abs", "count", "dictsort", "first", "float", "groupby", "int", "items", "last", "length"),
    *("list", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr"),
    *("sort", "unique", "wordcount"),
)
_SCALAR_FILTERS = (
    *("capitalize", "e", "escape", "forceescape", "lower", "string", "striptags", "title"),
    *("trim", "truncate", "upper", "urlencode", "wordwrap"),
)


class MappingLoader(BaseLoader):
    """Serves sources by ``template/file``; a subject loses the line breaks around it."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, None]:
        if template not in self._files:
            raise TemplateNotFound(template)
        return source_text(self._files, template), template, None


def source_text(files: Mapping[str, str], name: str) -> str:
    """A file's source as it is compiled; a subject has no line break at its end."""
    text = files[name]
    return text.rstrip() if name.rpartition("/")[2].startswith("subject.") else text


def is_markup(name: str | None) -> bool:
    """Whether a file's expressions are escaped: HTML, and CSS since it ends up inside of it."""
    return (name or "").endswith((".html", ".css"))


class _Generator(CodeGenerator):
    """Writes one call for what an expression prints, where Jinja writes two."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        name = "markup" if frame.eval_ctx.autoescape else "text"
        self.write(f"environment.printed_{name}(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")")


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox for the files of one template; made once, then used for every message."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    concat = staticmethod(bounded.concat)
    code_generator_class = _Generator
    printed_markup = staticmethod(bounded.printed_markup)
    printed_text = staticmethod(bounded.printed_text)

    def __init__(self, files: Mapping[str, str]) -> None:
        super().__init__(
            loader=MappingLoader(files),
            autoescape=is_markup,
            undefined=StrictUndefined,
            finalize=bounded.finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
        )
        self._loaded: dict[tuple[str, str | None], Template] = {}
        self.globals = {
            "range": bounded.limited_range,
            "cycler": Cycler,
            "joiner": Joiner,
            "namespace": Namespace,
        }
        self.filters = {name: FILTERS[name] for name in _PLAIN_FILTERS}
        self.filters |= {name: bounded.scalar_filter(FILTERS[name]) for name in _SCALAR_FILTERS}
        self.filters |= LOCALE_FILTERS
        self.filters |= {
            "join": bounded.joined,
            "map": bounded.mapped,
            "sum": bounded.summed,
            "replace": bounded.replace,
            "round": bounded.round_number,
            "default": bounded.default,
            "d": bounded.default,
            COUNTED: bounded.counted,
            JOINED: bounded.joined,
            SHALLOW: bounded.shallow,
        }
        self.binop_table |= {
            "+": bounded.add,
            "*": bounded.multiply,
            "**": bounded.power,
            "%": bounded.modulo,
        }

    def join_path(self, template: str, parent: str) -> str:
        """A name without a folder means a file of the same template."""
        return resolve_name(template, parent)

    def get_template(
        self,
        name: str | Template,
        parent: str | None = None,
        globals: MutableMapping[str, Any] | None = None,
    ) -> Template:
        """The compiled file, compiled once; ``globals`` are the environment's own."""
        if isinstance(name, Template):
            return name
        found = self._loaded.get((name, parent))
        if found is None:
            found = self._loaded[name, parent] = super().get_template(name, parent)
        return found

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only what is listed; never what begins with an underscore."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, _OPEN_TYPES):
            return True
        for types, allowed in _ALLOWED:
            if isinstance(obj, types):
                return attr in allowed
        # A module of macros has them as instance attributes and nothing else that is public.
        return isinstance(value, Macro)

    def wrap_str_format(self, value: Any) -> None:
        """``str.format`` is not offered at all: it pads to any width."""
        return

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro or method, charged to the message's budget."""
        context.parent[bounded.BUDGET].spend()
        if type(obj) is Macro:
            # What the sandbox asks of a callable is known of these, and they want nothing more.
            kwargs.pop("_block_vars", None)
            kwargs.pop("_loop_vars", None)
            return obj(context.eval_ctx, *args, **kwargs)
        return super().call(context, obj, *args, **kwargs)

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,
    ) -> str:
        return super()._generate(guard(source), name, filename, defer_init)


def resolve_name(name: str, parent: str) -> str:
    """The full name ``template/file`` of a file that ``parent`` names."""
    return name if "/" in name else f"{parent.rpartition('/')[0]}/{name}"

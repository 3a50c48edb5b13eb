"""``where: "country = 'DE' AND plan IN ('pro', 'team')"``: a condition over an audience's columns.

sqlglot only parses. Of its tree, the node types named here are allowed and everything else is
refused; the SQL that reaches a database is written anew from the tree, with every literal as a
parameter, so that no text of the condition gets there.

The same condition means the same on both databases and for every kind of source: columns are
text; beside a number, ``CAST(… AS …)`` to a number or ``LENGTH`` they count as numbers (and as
NULL where the text is no plain decimal number); text is compared by code points; ``LIKE`` minds
case and has no escape sign, ``ILIKE`` does not mind case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ignition_ext.audience.where_dialects import Spelling
from ignition_ext.errors import AudienceError

MAX_CONDITION = 4000
"""Characters: longer ones are lists of people, which belong into the audience."""
MAX_NODES = 500
"""Parts of a condition; also bounds how deep the functions below call themselves."""
MAX_EXPONENT = 30
"""Powers of ten of a number: 1e999999999 would be written out."""
MEND = (
    "Use columns, 'text', numbers, = != < <= > >=, IN, LIKE, ILIKE, BETWEEN, IS NULL, AND, OR,"
    " NOT, LOWER, UPPER, LENGTH, COALESCE and CAST."
)
Kind = Literal["text", "number"]

_COMPARE: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ALLOWED: dict[type[exp.Expr], frozenset[str]] = {
    **{node: frozenset({"this", "expression"}) for node in (*_COMPARE, exp.And, exp.Or)},
    **{node: frozenset({"this", "expression", "negate"}) for node in (exp.Like, exp.ILike, exp.Is)},
    **{node: frozenset({"this", "expressions"}) for node in (exp.In, exp.Coalesce)},
    **{
        node: frozenset({"this"})
        for node in (exp.Paren, exp.Not, exp.Neg, exp.Column, exp.Lower, exp.Upper, exp.Length)
    },
    exp.Between: frozenset({"this", "low", "high"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.DataType: frozenset({"this"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Null: frozenset(),
}
"""Every kind of node that may stand in a condition, and the arguments it may have."""
_NUMBER_TYPES = frozenset(
    {"INT", "BIGINT", "SMALLINT", "TINYINT", "DECIMAL", "BIGDECIMAL", "FLOAT", "DOUBLE"}
)
_TEXT_TYPES = frozenset({"TEXT", "VARCHAR", "CHAR", "NVARCHAR"})


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL with named parameters (``:where_0``), and their values."""

    sql: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Value:
    sql: str
    kind: Kind


def parse_where(text: str) -> exp.Expr:
    """The tree of a condition.

    Raises:
        AudienceError: it is too long, no SQL, or more than one expression.
    """
    if len(text) > MAX_CONDITION:
        raise AudienceError(f"where has more than {MAX_CONDITION} characters.", mend=MEND)
    try:
        trees = sqlglot.parse(text, dialect="postgres")
        nodes = sum(1 for tree in trees if tree is not None for _ in tree.walk())
    except SqlglotError as error:
        found = getattr(error, "errors", None) or [{}]
        what = str(found[0].get("description") or error).rstrip(".")
        raise AudienceError(f"where cannot be read: {what}: {text}", mend=MEND) from error
    except RecursionError as error:
        raise AudienceError("where is nested too deeply.", mend=MEND) from error
    if nodes > MAX_NODES:
        raise AudienceError(f"where has more than {MAX_NODES} parts.", mend=MEND)
    if len(trees) != 1 or trees[0] is None:
        raise AudienceError(f"where has to be one condition: {text}", mend=MEND)
    for node in trees[0].walk():
        allowed = _ALLOWED.get(type(node))
        if allowed is None or any(node.args[key] for key in set(node.args) - allowed):
            raise _refused(node, "is nothing that where may hold")
    return trees[0]


def compile_where(
    text: str, columns: Sequence[str], spelling: Spelling, column_sql: Callable[[str, str], str]
) -> Condition:
    """The condition as one database writes it.

    Args:
        columns: names that may be used; unquoted ones in any case.
        column_sql: from a column's name and that of a fresh parameter (which holds the name, or
            its JSON path: see ``Spelling.parameter_of``) the SQL of its text.

    Raises:
        AudienceError: something is not allowed, or a column is unknown.
    """
    return _Compiler(columns, spelling, column_sql).compile(parse_where(text))


@dataclass(slots=True)
class _Compiler:
    columns: Sequence[str]
    spelling: Spelling
    column_sql: Callable[[str, str], str]
    parameters: dict[str, Any] = field(default_factory=dict)

    def compile(self, tree: exp.Expr) -> Condition:
        try:
            sql = self.truth(tree)
        except RecursionError as error:
            raise AudienceError("where is nested too deeply.", mend=MEND) from error
        return Condition(sql, self.parameters)

    def parameter(self, value: Any) -> str:
        name = f"where_{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def truth(self, node: exp.Expr) -> str:
        """SQL of something that is true or false."""
        match node:
            case exp.Paren():
                return self.truth(node.this)
            case exp.And() | exp.Or():
                word = "AND" if isinstance(node, exp.And) else "OR"
                return f"({self.truth(node.this)} {word} {self.truth(node.expression)})"
            case exp.Not():
                return f"(NOT {self.truth(node.this)})"
            case exp.Like() | exp.ILike():
                return f"(NOT {self.like(node)})" if node.args.get("negate") else self.like(node)
            case exp.Between():
                low, high = node.args["low"], node.args["high"]
                above = self.compare(">=", node.this, low)
                return f"({above} AND {self.compare('<=', node.this, high)})"
            case exp.In():
                return self.within(node)
            case exp.Is():
                return self.is_null(node)
            case _ if type(node) in _COMPARE:
                return self.compare(_COMPARE[type(node)], node.this, node.expression)
            case _:
                raise _refused(node, "is no condition that where may hold")

    def compare(self, sign: str, left: exp.Expr, right: exp.Expr) -> str:
        one, other = self.alike([self.value(left), self.value(right)])
        if one.kind == "text" and sign not in ("=", "<>"):
            return f"({self.spelling.by_code_point(one.sql)} {sign} {other.sql})"
        return f"({one.sql} {sign} {other.sql})"

    def like(self, node: exp.Like | exp.ILike) -> str:
        pattern = node.expression
        if not (isinstance(pattern, exp.Literal) and pattern.is_string):
            raise _refused(node, "needs a pattern in quotes")
        subject = self.text(node.this)
        text = str(pattern.this)
        if isinstance(node, exp.ILike):
            subject, text = self.spelling.lower(subject), text.lower()
        return self.spelling.like(subject, text, self.parameter)

    def within(self, node: exp.In) -> str:
        if not node.expressions:
            raise _refused(node, "needs a list of values")
        subject = node.this
        return f"({' OR '.join(self.compare('=', subject, item) for item in node.expressions)})"

    def is_null(self, node: exp.Is) -> str:
        if not isinstance(node.expression, exp.Null):
            raise _refused(node, "may only ask IS NULL or IS NOT NULL")
        negated = "NOT " if node.args.get("negate") else ""
        return f"({self.value(node.this).sql} IS {negated}NULL)"

    def text(self, node: exp.Expr) -> str:
        value = self.value(node)
        if value.kind != "text":
            raise _refused(node, "is a number where text is needed")
        return value.sql

    def alike(self, values: Sequence[_Value]) -> list[_Value]:
        """The values as numbers where one of them is a number."""
        if all(value.kind == "text" for value in values):
            return list(values)
        return [self.number(value) for value in values]

    def number(self, value: _Value) -> _Value:
        if value.kind == "number":
            return value
        return _Value(self.spelling.number(value.sql), "number")

    def value(self, node: exp.Expr) -> _Value:
        """SQL of text or a number."""
        match node:
            case exp.Paren():
                return self.value(node.this)
            case exp.Column():
                return self.column(node)
            case exp.Literal():
                return self.literal(node, 1)
            case exp.Neg() if isinstance(node.this, exp.Literal) and not node.this.is_string:
                return self.literal(node.this, -1)
            case exp.Lower():
                return _Value(self.spelling.lower(self.text(node.this)), "text")
            case exp.Upper():
                return _Value(self.spelling.upper(self.text(node.this)), "text")
            case exp.Length():
                return _Value(f"length({self.text(node.this)})", "number")
            case exp.Coalesce():
                return self.coalesce(node)
            case exp.Cast():
                return self.cast(node)
            case _:
                raise _refused(node, "is nothing that where may hold")

    def column(self, node: exp.Column) -> _Value:
        name = node.name
        if not isinstance(node.this, exp.Identifier):
            raise _refused(node, "is no plain column")
        found = name if name in self.columns else None
        if found is None and not node.this.quoted:
            found = next((known for known in self.columns if known.lower() == name.lower()), None)
        if found is None:
            raise AudienceError(
                f"where names {name!r}, which is no column of the audience.",
                mend=f"Its columns are {', '.join(self.columns)}; text stands in single quotes.",
            )
        given = self.spelling.parameter_of(found)
        placeholder = self.parameter(given) if given is not None else ""
        return _Value(self.column_sql(found, placeholder), "text")

    def literal(self, node: exp.Literal, sign: int) -> _Value:
        if node.is_string:
            text = str(node.this)
            if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text):
                raise AudienceError("where holds a NUL or another sign that is no text.", mend=MEND)
            return _Value(self.spelling.text_parameter(self.parameter(text)), "text")
        try:
            number = Decimal(str(node.this))
        except InvalidOperation as error:
            raise _refused(node, "is no decimal number") from error
        if not number.is_finite() or abs(number.adjusted()) > MAX_EXPONENT:
            raise _refused(node, "is out of range")
        number = number if sign > 0 else number.copy_negate()
        placeholder = self.parameter(self.spelling.decimal(number))
        return _Value(self.spelling.number_parameter(placeholder), "number")

    def coalesce(self, node: exp.Coalesce) -> _Value:
        values = self.alike([self.value(part) for part in (node.this, *node.expressions)])
        joined = ", ".join(value.sql for value in values)
        if len(values) == 1:
            return values[0]
        return _Value(f"coalesce({joined})", values[0].kind)

    def cast(self, node: exp.Cast) -> _Value:
        kind = node.to.this.name if isinstance(node.to.this, exp.DataType.Type) else ""
        if kind in _NUMBER_TYPES:
            return self.number(self.value(node.this))
        if kind in _TEXT_TYPES:
            return _Value(self.text(node.this), "text")
        raise _refused(node, "casts to something other than text or a number")


def _refused(node: exp.Expr, why: str) -> AudienceError:
    # The generator is only for the message: what it writes goes to no database.
    return AudienceError(f"where: {node.sql(dialect='postgres')} {why}.", mend=MEND)

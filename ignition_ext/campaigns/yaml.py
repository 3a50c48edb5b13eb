"""YAML with line numbers and without its traps, for files that operators write.

Only what YAML 1.2's core schema has: strings, ``true`` and ``false``, ``null``, numbers. YAML
1.1 also reads ``no`` as false, ``12:30`` as 750 and ``010`` as 8; here the first two are the
words that stand there, and a number with a leading zero is a string too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 256 * 1024
"""Far above the longest query in a campaign file; stops a wrong file before it is parsed."""
MAX_NODES = 10_000
MAX_DEPTH = 20
"""Aliases can make a small file mean billions of values, or contain itself."""

Path = tuple[str | int, ...]
_INTEGER = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?$")
_CONSTANTS = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "~": None,
    "": None,
}
_MAX_DIGITS = 18


class YamlError(ValueError):
    """The text is not the YAML that is taken here; ``line`` counts from 1."""

    def __init__(self, message: str, line: int = 0, path: Path = ()) -> None:
        self.line, self.path = line, path
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file says, and at which line each of its values stands (a key's for a mapping)."""

    value: Any
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of a value, or of the nearest thing around it that is there."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0


class _Loader(yaml.SafeLoader):
    """Resolves no plain word to anything but a string; `_Builder` knows what is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute


def parse(data: bytes) -> Document:
    """One YAML document.

    Raises:
        YamlError: it is not UTF-8, too large, not YAML, or uses tags or duplicate keys.
    """
    if len(data) > MAX_BYTES:
        raise YamlError(f"the file has {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlError("the file is not UTF-8", line) from error
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(filter(None, (error.context, error.problem)))
        raise YamlError(words, mark.line + 1 if mark else 0) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError("a character that YAML does not allow", line) from error
    except RecursionError as error:
        raise YamlError("nested too deeply") from error
    builder = _Builder()
    value = None if node is None else builder.build(node, ())
    return Document(value=value, lines=builder.lines)


class _Builder:
    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self._nodes = 0

    def build(self, node: Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            self._fail("too much, or nested too deeply", node, path)
        self.lines.setdefault(path, _line(node))
        match node:
            case ScalarNode():
                return self._scalar(node, path)
            case SequenceNode() if node.tag == "tag:yaml.org,2002:seq":
                return [self.build(item, (*path, at)) for at, item in enumerate(node.value)]
            case MappingNode() if node.tag == "tag:yaml.org,2002:map":
                return self._mapping(node, path)
            case _:
                return self._fail(f"the tag {node.tag} is not taken here", node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._fail("a key must be a word", key_node, path)
            key = self._text(key_node, path)
            if key in built:
                first = self.lines[(*path, key)]
                self._fail(f"stands twice; first on line {first}", key_node, (*path, key))
            self.lines[(*path, key)] = _line(key_node)
            built[key] = self.build(value_node, (*path, key))
        return built

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.tag != "tag:yaml.org,2002:str":
            self._fail(f"the tag {node.tag} is not taken here", node, path)
        text = self._text(node, path)
        if node.style is not None:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        is_short = len(text.lstrip("+-")) <= _MAX_DIGITS
        if is_short and _INTEGER.match(text):
            return int(text)
        if is_short and _FLOAT.match(text):
            return float(text)
        return text

    def _text(self, node: ScalarNode, path: Path) -> str:
        """The text; ``\\ud83d\\ude00`` as JSON writes it is one character, half of it is none."""
        text: str = node.value
        try:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fail("holds half a character", node, path)
        if "\0" in text:
            self._fail("holds a NUL, which no database keeps", node, path)
        return text

    def _fail(self, message: str, node: Node, path: Path) -> NoReturn:
        raise YamlError(message, _line(node), path)


def _line(node: Node) -> int:
    line: int = node.start_mark.line + 1
    return line

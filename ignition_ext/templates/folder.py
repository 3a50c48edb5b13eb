"""Reads a template from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from json import dumps
from pathlib import Path

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.limits import MAX_FILES, MAX_SOURCE_CHARS
from ignition_ext.templates.rendering.manifest import Manifest, read_manifest
from ignition_ext.templates.rendering.references import missing_templates
from ignition_ext.templates.rendering.sources import FILE_NAME, MANIFEST, PARTS, TEMPLATE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFolder:
    """A folder's content; ``files`` holds ``template.yaml`` too, names without the folder."""

    name: str
    files: dict[str, str]
    manifest: Manifest

    @property
    def digest(self) -> str:
        """SHA-256 over names and texts."""
        text = dumps(self.files, sort_keys=True, ensure_ascii=False)
        return sha256(text.encode()).hexdigest()

    @property
    def sources(self) -> dict[str, str]:
        """The files that Jinja compiles, by ``template/file``."""
        return template_files(self.name, self.files)


def template_files(name: str, files: dict[str, str]) -> dict[str, str]:
    """A template's own files by ``template/file``, without its manifest."""
    return {f"{name}/{file}": text for file, text in files.items() if file != MANIFEST}


def read_folder(folder: Path) -> TemplateFolder:
    """The template that a folder holds.

    Raises:
        TemplateError: it is no template's folder, or a file in it cannot be used.
    """
    name = folder.resolve().name
    if not TEMPLATE_NAME.match(name):
        raise TemplateError(
            f"{name!r} cannot be a template's name.",
            file=str(folder),
            mend="Name the folder with small letters, digits, hyphens and underscores.",
        )
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise TemplateError(
            f"the folder cannot be read: {error.strerror}.", file=str(folder)
        ) from error
    if len(paths) > MAX_FILES:
        raise TemplateError(f"more than {MAX_FILES} files.", template=name, file=str(folder))
    files = {path.name: _read(path, name) for path in paths}
    if not files.keys() - {MANIFEST}:
        raise TemplateError(
            "the folder holds no template.",
            file=str(folder),
            mend=f"A template is a folder with some of: {', '.join(PARTS)}, {MANIFEST}.",
        )
    manifest = read_manifest(files.get(MANIFEST, ""), template=name)
    return TemplateFolder(name=name, files=files, manifest=manifest)


def find_folders(path: Path) -> Sequence[TemplateFolder]:
    """One template, or all in a folder of templates, each after those that it is made from.

    Raises:
        TemplateError: as :func:`read_folder`; or templates take in each other in a circle.
    """
    if not path.is_dir():
        raise TemplateError(
            "there is no such folder.",
            file=str(path),
            mend="Name a folder with subject.txt and body.html or body.txt, or sms.txt.",
        )
    inside = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    folders = [child for child in inside if child.is_dir()]
    if not folders or any(child.is_file() and FILE_NAME.match(child.name) for child in inside):
        return [read_folder(path)]
    templates = {folder.name: folder for folder in map(read_folder, folders)}
    graph = {
        name: missing_templates(template.sources).keys() & templates.keys()
        for name, template in templates.items()
    }
    try:
        return [templates[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        names = " -> ".join(error.args[1])
        raise TemplateError(f"templates take in each other: {names}.", file=str(path)) from error


def _read(path: Path, template: str) -> str:
    place = f"{template}/{path.name}"
    if path.is_symlink() or not path.is_file():
        raise TemplateError("it is not a plain file.", template=template, file=place)
    if path.name != MANIFEST and not FILE_NAME.match(path.name):
        raise TemplateError(
            "a template holds no such file.",
            template=template,
            file=place,
            mend="Use names such as body.html, body.de.html or footer.txt (or .css);"
            " attachments and images belong to the campaign file.",
        )
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TemplateError("it is not UTF-8.", template=template, file=place, line=line) from error
    if len(text) > MAX_SOURCE_CHARS:
        raise TemplateError(
            f"more than {MAX_SOURCE_CHARS} characters.", template=template, file=place
        )
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TemplateError("it holds a NUL.", template=template, file=place, line=line)
    return text.replace("\r\n", "\n").replace("\r", "\n")

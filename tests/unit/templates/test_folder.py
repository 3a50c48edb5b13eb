"""Reading a template's folder: what is taken, and what is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ignition_ext.errors import TemplateError
from ignition_ext.templates.folder import find_folders, read_folder
from ignition_ext.templates.rendering.compile import compile_bundle
from ignition_ext.templates.rendering.limits import MAX_FILES, MAX_SOURCE_CHARS
from ignition_ext.templates.rendering.manifest import Manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "welcome"
    made.mkdir()
    (made / "sms.txt").write_text("Hi {{ first_name }}\n")
    return made


def test_a_folder_becomes_a_template(folder) -> None:
    """Its name, its files with Unix line ends and no byte order mark, its settings."""
    (folder / "template.yaml").write_text("description: d\ndefaults: {day: 2026-11-21, n: 3}\n")
    (folder / "sms.de.txt").write_bytes(b"\xef\xbb\xbfHallo\r\n")
    (folder / ".DS_Store").write_bytes(b"\xff")

    template = read_folder(folder)

    assert template.name == "welcome"
    assert template.sources["welcome/sms.de.txt"] == "Hallo\n"
    assert set(template.files) == {"sms.txt", "sms.de.txt", "template.yaml"}
    assert template.manifest.defaults == {"day": "2026-11-21", "n": 3}


def test_the_digest_changes_with_names_and_texts_only(folder) -> None:
    """It decides on whether a push makes a new version."""
    first = read_folder(folder).digest
    (folder / "sms.txt").touch()
    same = read_folder(folder).digest
    (folder / "sms.txt").rename(folder / "sms.de.txt")
    renamed = read_folder(folder).digest

    assert first == same != renamed


@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        ("photo.png", b"x", 0, "no such file"),
        ("body.toolong-xx-yy-zz-ww.html", b"x", 0, "no such file"),
        ("sms.txt", b"a\nb\xff", 2, "not UTF-8"),
        ("sms.txt", b"a\n\nb\0", 3, "NUL"),
        ("sms.txt", b"a" * (MAX_SOURCE_CHARS + 1), 0, "characters"),
        ("template.yaml", b"a: 1\n\tb: 2\n", 2, "token"),
        ("template.yaml", b"description: d\ndefault: {a: 1}\n", 2, "default"),
        ("template.yaml", b"required:\n  - a\n  - {b: 1}\n", 3, "required.1"),
        ("template.yaml", b"- a\n", 1, "dictionary"),
        ("template.yaml", b"language: klingon\n", 1, "not a language"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(folder, name, content, line, words) -> None:
    """The error says file, line and what is wrong."""
    (folder / name).write_bytes(content)

    with pytest.raises(TemplateError, match=words) as caught:
        read_folder(folder)

    assert caught.value.file == f"welcome/{name}"
    assert caught.value.line == line


def test_links_folders_and_heaps_of_files_are_refused(folder, tmp_path) -> None:
    """A link could lead to any file of the machine that the push runs on."""
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "body.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(TemplateError, match="plain file"):
        read_folder(folder)

    (folder / "body.txt").unlink()
    for number in range(MAX_FILES):
        (folder / f"part-{number}.txt").touch()
    with pytest.raises(TemplateError, match=str(MAX_FILES)):
        read_folder(folder)


@pytest.mark.parametrize("name", ["Welcome", "two words", "-x", "x@2"])
def test_a_name_that_campaigns_could_not_write_is_refused(tmp_path, name) -> None:
    """The folder's name is the template's."""
    (tmp_path / name).mkdir()

    with pytest.raises(TemplateError, match="name"):
        read_folder(tmp_path / name)


def test_a_folder_of_templates_comes_in_the_order_of_need(tmp_path) -> None:
    """What others take in is stored before them."""
    for name, source in {
        "a": "{% include 'b/sms.txt' %}",
        "b": "{% include 'c/sms.txt' %}",
        "c": "x",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "sms.txt").write_text(source)

    assert [template.name for template in find_folders(tmp_path)] == ["c", "b", "a"]

    (tmp_path / "c" / "sms.txt").write_text("{% include 'a/sms.txt' %}")
    with pytest.raises(TemplateError, match="each other"):
        find_folders(tmp_path)


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path) -> None:
    """With what a template is."""
    with pytest.raises(TemplateError, match="no such folder"):
        find_folders(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TemplateError, match="no template"):
        find_folders(tmp_path / "empty")


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("\n{% if x %}", 2, "end"),
        ("a\n{{ x|sparkle }}", 2, "no filter 'sparkle'"),
        ("{% if x %}\n{{ y is shiny }}{% endif %}", 2, "no test 'shiny'"),
        ("\n\n{% include 'gone.txt' %}", 3, "no file 't/gone.txt'"),
        ("{{ x", 1, "end"),
        ("{{ '" + "(" * 9 + "' " + "(" * 2000 + " }}", 0, "nested|too deep|end|expression"),
        ("{% for a in b %}" * 40 + "{% endfor %}" * 40, 0, "nested"),
        ("\n{% include 'sms.txt' %}", 2, "which takes in it"),
        ("{% import name as x %}", 1, "plain text in quotes"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_its_line(source, line, words) -> None:
    """Also where the wrong line is in a file that another takes in."""
    files = {"t/sms.txt": source}
    taken_in = {"t/body.txt": "{% include 'sms.txt' %}", **files}

    for tried in (files, taken_in):
        with pytest.raises(TemplateError, match=words) as caught:
            compile_bundle("t", tried, Manifest())
        assert caught.value.file == "t/sms.txt"
        assert line in (0, caught.value.line)

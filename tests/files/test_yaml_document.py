"""YAML that is plain, bounded, and knows its lines."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError, StorageError
from archgym.files.yaml_document import read_document, read_value


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(text: str | bytes) -> object:
    path = Path("document.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path).root.plain()


def test_values_are_what_they_are_in_json_and_text_otherwise() -> None:
    found = read("a: 1\nb: 1e-3\nc: off\nd: yes\ne: true\nf: null\ng: '1'\nh: 1.5\ni: -2\nj:\n")

    assert found == {
        "a": 1,
        "b": 0.001,
        "c": "off",
        "d": "yes",
        "e": True,
        "f": None,
        "g": "1",
        "h": 1.5,
        "i": -2,
        "j": None,
    }


def test_json_is_read_as_what_it_is() -> None:
    assert read('{"a": [1, 2.5, "1e5", null], "b": {"c": 1e-05}}') == {
        "a": [1, 2.5, "1e5", None],
        "b": {"c": 1e-05},
    }


def test_an_empty_file_holds_nothing() -> None:
    assert read("# only a remark\n") is None


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: &x 2\nc: *x\n", 2, "anchors"),
        ("a: 1\nc: *x\n", 2, "aliases"),
        ("a: !!python/object:os.system 1\n", 1, "tag"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "'c' stands in line 3 too"),
        ("a: 1\n---\nb: 1\n", 2, "second document"),
        ("a: 1\n  b: 2\n", 2, "YAML"),
        ("a: [1, 2\nb: 3\n", 2, "YAML"),
        ("? [1, 2]\n: 3\n", 1, "a key that is not a text"),
        ("a: 1\nb: \x00\n", 2, "YAML"),
        (b"a: 1\nb: \xff\n", 2, "UTF-8"),
        ("[" * 5000, 1, "levels"),
        ("a: 1\n\tb: 2\n", 2, "YAML"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(
    text: str | bytes, line: int, problem: str
) -> None:
    with pytest.raises(FileFormatError) as caught:
        read(text)

    assert caught.value.line == line
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(FileFormatError, match="at most"):
        read("a: 1\n" * 300_000)


def test_numbers_that_no_float_holds_are_text() -> None:
    assert read("a: 1e999\nb: 12345678901234567890123\n") == {
        "a": "1e999",
        "b": "12345678901234567890123",
    }


def test_an_absent_file_is_refused() -> None:
    with pytest.raises(StorageError, match="no such file"):
        read_document("absent.yaml")


@pytest.mark.parametrize("letter", ["\\0", "\\e"])
def test_control_characters_in_a_text_are_refused(tmp_path: Path, letter: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f'name: x\nother: "a{letter}b"\n')
    node = read_document(file).root.members("a file")["other"]

    with pytest.raises(FileFormatError, match=r"a\.yaml:2: `other` must hold no control"):
        node.text("`other`")


def test_choice_is_one_of_the_known_texts() -> None:
    assert read_value("ring", "x").choice("`kind`", ("ring", "mesh")) == "ring"
    with pytest.raises(FileFormatError, match="`kind` must be one of ring, mesh; got 'rung'"):
        read_value("rung", "x").choice("`kind`", ("ring", "mesh"))

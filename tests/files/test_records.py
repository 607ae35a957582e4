"""JSON and YAML from the disk: the value, or one line that names the file, what was found and what to do."""

from __future__ import annotations

import json
import os
from typing import Any, TypedDict

import pytest

from normkd_explore.files import records
from normkd_explore.files.records import (
    RecordError,
    json_checksum,
    parse_yaml,
    read_json,
    read_json_lines,
    read_yaml,
    sealed,
    unsealed,
)


class Split(TypedDict):
    top1: float


REMEDY = "Take it from a copy."
GOOD = {"top1": 0.5, "more": [1, "ä"]}
BROKEN = {
    "empty": (b"", "is damaged: it is empty"),
    "white": (b" \n\t", "is damaged: it is empty"),
    "cut": (b'{"top1": 0.', r"is damaged: it is no JSON \(.* in line 1, column \d+\)"),
    "latin-1": ('{"top1": 1, "name": "ä"}'.encode("latin-1"), r"it is no UTF-8 text \(byte \d+ is 0xe4\)"),
    "utf-16": ('{"top1": 1}'.encode("utf-16"), r"it is no UTF-8 text \(byte 1 is 0xff\)"),
    "zeros": (bytes(100), "it is no JSON"),
    "deep": (b"[" * 100_000, "its values lie too deep inside each other|it is no JSON"),
    "nan": (b'{"top1": NaN}', "it holds NaN, which is no number"),
    "infinite": (b'{"top1": -Infinity}', "it holds -Infinity"),
    "digits": (b'{"top1": ' + b"1" * 5000 + b"}", "is damaged: "),
    "text": (b'"top1"', "is damaged or of another kind: it is 'top1', wanted named values"),
    "type": (b'{"top1": "1"}', "top1 is '1', wanted a number"),
    "key": (b'{"top2": 1}', "top1 is missing"),
    "null": (b"null", "it is None, wanted named values"),
}


def only_line(error) -> str:
    """The text of an error, which must be one line."""
    (line,) = str(error.value).splitlines()
    return line


def test_what_fits_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(GOOD))
    assert read_json(path, Split, REMEDY) == GOOD
    path.write_text("top1: 0.5\nmore: [1, ä]\n", encoding="utf-8")
    assert read_yaml(path, Split, REMEDY) == GOOD
    path.write_text('{"top1": 1}\n{"top1": 2}\n')
    assert read_json_lines(path, Split, REMEDY) == [{"top1": 1}, {"top1": 2}]


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("read", [read_json, read_json_lines], ids=lambda read: read.__name__)
def test_what_does_not_fit_is_one_line_with_file_finding_and_remedy(tmp_path, read, content, words):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(
        RecordError, match=words.replace("it is '", ".* is '").replace("it is None", ".* is None")
    ) as error:
        read(path, Split, REMEDY)
    assert only_line(error).startswith(str(path)) and only_line(error).endswith(f". {REMEDY}")


@pytest.mark.parametrize(
    "content",
    [
        b"a: [",
        b"\ta: 1",
        b"a: 1\na: &x",
        b"!!python/object:os.system x",
        b"{a: 1}: 2",
        b"a: 2001-99-99",
        b"\x00",
        b"- a\nb: 1",
    ],
    ids=repr,
)
def test_yaml_of_any_kind_ends_in_one_line(tmp_path, content):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(RecordError) as error:
        read_yaml(path, Split, REMEDY)
    assert only_line(error).startswith(str(path)) and only_line(error).endswith(REMEDY)


def test_nothing_is_run_by_yaml(tmp_path):
    with pytest.raises(ValueError, match="no YAML"):
        parse_yaml(f"!!python/object/apply:os.mkdir [{tmp_path / 'made'}]")
    assert not (tmp_path / "made").exists()


def test_only_regular_files_of_a_modest_size_are_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LARGEST", 10)
    (tmp_path / "big").write_bytes(b"1" * 11)
    (tmp_path / "folder").mkdir()
    cases = {"big": "it has 11 bytes, and such files have at most 10", "folder": "is a folder", "none": "No such file"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        cases["pipe"] = "is a named pipe"
    for name, words in cases.items():
        with pytest.raises(RecordError, match=words) as error:
            read_json(tmp_path / name, Any, REMEDY)
        assert str(tmp_path / name) in only_line(error) and only_line(error).endswith(REMEDY)


def test_a_sealed_record_tells_of_every_change(tmp_path):
    record = {"top1": 0.5, "text": "ä", "nested": {"n": [1, 2.5, None]}}
    seal = sealed(record)
    assert unsealed(seal, tmp_path, REMEDY) == record == unsealed(record, tmp_path, REMEDY)
    for changed in (
        {**seal, "top1": 0.51},
        {**seal, "more": 1},
        {**seal, "checksum": "0" * 64},
        {**seal, "checksum": 1},
    ):
        with pytest.raises(RecordError, match=r"was changed or damaged after it was written.*a copy"):
            unsealed(changed, tmp_path, REMEDY)


def test_the_checksum_is_that_of_canonical_json():
    assert json_checksum({"b": 1, "a": [0.5, None]}) == json_checksum({"a": [0.5, None], "b": 1})
    assert json_checksum({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"

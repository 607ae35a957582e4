"""Settings files: what was written is read again, and nothing else is taken for one."""

from __future__ import annotations

import os

import pytest
import yaml

from normkd_explore.methods import Settings
from normkd_explore.training.recipes.settings_file import FIELDS, SettingsFileError, read_settings, write_settings

SETTINGS = Settings({"alpha": 1.0, "beta": 8.0, "t_norm": 1.7}, 0.5, 2.0, 20, published=False, source="found ± 0.1")


def test_what_was_written_is_read_again(tmp_path):
    path = tmp_path / "settings.yaml"
    write_settings(path, "glyphs/resnet20-resnet8", "normdkd", SETTINGS)
    found = read_settings(path)
    assert (found.preset, found.method, found.settings) == ("glyphs/resnet20-resnet8", "normdkd", SETTINGS)
    assert path.read_text().startswith("# Train with these settings: normkd train glyphs/resnet20-resnet8 --settings")


def good() -> dict[str, object]:
    values = ("folder/a-b", "normkd", {"t_norm": 1.5}, 0.1, 0.9, 0, "by hand")
    return dict(zip(FIELDS, (1, *values), strict=True))


CHANGES = {
    "no kd_weight": (lambda v: v.pop("kd_weight"), "no kd_weight"),
    "unknown name": (lambda v: v.update(lr=0.1), "an unknown lr"),
    "other format": (lambda v: v.update(format=7), "format 7, and this version reads 1"),
    "unknown method": (lambda v: v.update(method="nomkd"), "'nomkd', wanted one of.*Close to it: normkd"),
    "loss is a number": (lambda v: v.update(loss=3), "loss: 3"),
    "foreign argument": (lambda v: v.update(loss={"temperature": 2.0}), "not all among t_norm"),
    "value of a kind": (lambda v: v.update(loss={"t_norm": "high"}), "t_norm is 'high'"),
    "value out of range": (lambda v: v.update(loss={"t_norm": -1.0}), "t_norm is -1.0"),
    "negative weight": (lambda v: v.update(kd_weight=-1), "kd_weight: -1"),
    "switch for a weight": (lambda v: v.update(ce_weight=True), "ce_weight: True"),
    "infinite weight": (lambda v: v.update(ce_weight=float("inf")), "ce_weight: inf"),
}


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_other_values_are_refused_by_name(tmp_path, change, words):
    values, path = good(), tmp_path / "mine.yaml"
    change(values)
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(SettingsFileError, match=f"{path}: found .*{words}"):
        read_settings(path)


CONTENTS = {"empty": b"", "list": b"- 1", "binary": os.urandom(500), "no yaml": b"a: [1", "a word": b"hello",
            "code": b"!!python/object/apply:os.system ['touch x']", "huge": b"a: 1\n" * 30_000,
            "deep": b"[" * 50_000}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsFileError, match="wanted a settings file as `normkd tune` writes it") as refused:
        read_settings(path)
    assert str(refused.value).startswith(f"{path}: found ") and "\n" not in str(refused.value)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "a named pipe"), ("", "a folder"), ("absent", "No such file")):
        with pytest.raises(SettingsFileError, match=words):
            read_settings(tmp_path / name)


def test_a_file_changed_by_hand_is_taken(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(good()))
    assert read_settings(path).settings == Settings({"t_norm": 1.5}, 0.1, 0.9, 0, False, "by hand")

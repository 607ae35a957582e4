"""Every command on a terminal of 80 columns, where nothing may be cut, and in a pipe, where all is plain."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from normkd_explore.cli.main import COMMANDS
from normkd_explore.cli.table import Column, Table
from tests.helpers.terminal import in_pipe, on_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other terminals")

PAIR = ["folder/resnet14-resnet8", "--data-root", "photos"]
SMALL = ["--epochs", "2", "--batch-size", "8", "--device", "cpu"]
OUT = ["--out", "a folder/of a run whose path is long enough to be wrapped/kept"]
COMPARED = ["--methods", "ce,kd,normkd", "--seeds", "2", "--out", "race"]
CALLS = {
    "teacher": ["teacher", *PAIR, *SMALL],
    "train": ["train", *PAIR, *SMALL, *OUT],
    "again": ["train", *PAIR, *SMALL, *OUT],
    "resumed": ["train", *PAIR, *SMALL, *OUT, "--resume"],
    "compare": ["compare", *PAIR, *SMALL, *COMPARED],
    "report": ["report", "race"],
    "report json": ["report", "race", "--json"],
    "evaluate": ["evaluate", "race/kd-seed0", "--data-root", "photos", "--device", "cpu"],
    "evaluate json": ["evaluate", "race/kd-seed0", "--data-root", "photos", "--device", "cpu", "--json"],
    "presets": ["presets", "--method", "normdkd"],
    "presets json": ["presets", "--json"],
    "stats": ["stats", "logits.npy"],
    "stats json": ["stats", "logits.npy", "--json"],
    "estimate": ["estimate", *PAIR, *SMALL, "--seconds", "0.5"],
    "doctor": ["doctor"],
    "doctor root": ["doctor", "--data-root", "photos"],
    "wrong method": ["train", "--method", "nrmkd"],
    "wrong option": ["train", "--protocol", "papr"],
    "wrong preset": ["train", "glyphs/resnet21-resnet8"],
    "no run": ["report", "photos"],
    **{f"{name} --help": [name, "--help"] for name in COMMANDS},
    "--help": ["--help"],
}
WRONG = {"again", "wrong method", "wrong option", "wrong preset", "no run"}
CALLED = list(CALLS)


def prepare(folder):
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for label, name in enumerate(("ant", "bee", "cat")):
            (folder / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(60 + 60 * label, 40, (16, 16, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "photos" / split / name / f"{i}.png")
    np.save(folder / "logits.npy", np.random.default_rng(0).normal(0, 3, (60, 12)))
    return folder


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """All answers on a terminal of 80 columns."""
    return dict(zip(CALLS, on_terminal(list(CALLS.values()), prepare(tmp_path_factory.mktemp("tty"))), strict=True))


@pytest.fixture(scope="module")
def piped(tmp_path_factory):
    """All answers in a pipe."""
    return dict(zip(CALLS, in_pipe(list(CALLS.values()), prepare(tmp_path_factory.mktemp("pipe"))), strict=True))


@pytest.mark.parametrize("call", CALLED)
def test_at_80_columns_no_line_is_longer_and_nothing_is_cut(seen, call):
    answer = seen[call]
    assert answer.code == (2 if call in WRONG else 0), answer.text
    if "json" not in call:
        assert max(map(len, answer.lines)) <= 80, max(answer.lines, key=len)
    assert "…" not in answer.text
    if call == "--help":  # summaries of commands are what Typer cuts
        assert not any(line.endswith("...") for line in answer.lines if not line.startswith("Usage:"))


@pytest.mark.parametrize("call", CALLED)
def test_a_pipe_gets_no_control_character(piped, call):
    answer = piped[call]
    assert answer.code == (2 if call in WRONG else 0), answer.text
    assert not [line for line in answer.text.split("\n") if not line.isprintable()]


@pytest.mark.parametrize("call", ["report", "compare"])
def test_a_narrow_terminal_loses_no_number_of_a_report(seen, piped, call):
    def numbers(text):
        return set(re.findall(r"[+-]?\d+\.\d\d\b(?: ± \d+\.\d\d)?", text.partition("method")[2]))

    # Training times differ between the two; accuracies do not.
    found = numbers("\n".join(seen[call].lines))
    assert found and found == numbers(piped[call].text)


def test_a_terminal_says_what_the_pipe_says(seen, piped):
    """The same words, wherever they were wrapped; tables apart, and what differs between two runs."""
    for call in CALLED:
        if call.startswith("wrong") or call in ("no run", "stats"):
            assert " ".join("\n".join(seen[call].lines).split()) == " ".join(piped[call].text.split()), call


def test_progress_keeps_to_two_lines_a_student_and_shows_loss_and_top1(seen, piped):
    frame = "\n".join(seen["compare"].lines)
    for name in ("ce", "kd", "normkd"):
        assert re.search(rf"^  {name} +loss \d+\.\d{{3}} +top-1 \d+\.\d %", frame, re.MULTILINE)
    assert re.search(r"epoch 2/2 .*took \d+ s$", frame, re.MULTILINE)
    epochs = [line for line in piped["compare"].text.splitlines() if " epoch " in line and "images/s" in line]
    assert len(epochs) == 4  # two seeds of two epochs
    assert all(f"{name}: loss " in line for line in epochs for name in ("ce", "kd", "normkd"))


def test_a_line_that_continues_a_run_can_be_copied(seen):
    """The refusal names the way on, and it is one that works."""
    assert "--resume" in " ".join(seen["again"].lines)


def test_colours_go_where_they_are_not_wanted(tmp_path):
    calls = [["presets"], ["doctor"], ["train", "--method", "nrmkd"]]
    coloured = on_terminal(calls, tmp_path)
    plain = on_terminal(calls, tmp_path, NO_COLOR="1")
    assert all(re.search(r"\x1b\[[0-9;]*3[0-9]m", answer.text) for answer in coloured)
    assert not any(re.search(r"\x1b\[[0-9;]*3[0-9]m", answer.text) for answer in plain)


def test_several_near_names_are_suggested(seen):
    text = " ".join(" ".join(seen["wrong method"].lines).split())
    assert re.search(r"Close to it: normkd, \w+, \w+", text)
    assert "Close to it:" in " ".join(seen["wrong preset"].lines)


@pytest.mark.parametrize("place", ["seen", "piped"])
def test_json_is_json_everywhere(place, request):
    answers = request.getfixturevalue(place)
    report = json.loads(answers["report json"].text)
    assert [entry["method"] for entry in report["methods"]] == ["ce", "kd", "normkd"]
    assert [entry["reference"] for entry in report["differences"]] == ["ce", "ce"]
    for difference, method in zip(report["differences"], report["methods"][1:], strict=True):
        pairs = np.subtract(method["test_top1"]["values"], report["methods"][0]["test_top1"]["values"])
        assert difference["differences"]["values"] == pytest.approx(pairs.tolist())
        assert difference["differences"]["mean"] == pytest.approx(pairs.mean())
        assert difference["differences"]["std"] == pytest.approx(pairs.std(ddof=1))
    evaluated = json.loads(answers["evaluate json"].text)
    assert evaluated["top1"] == pytest.approx(report["methods"][1]["test_top1"]["values"][0])
    assert (evaluated["n"], evaluated["split"], evaluated["run"]) == (18, "test", "race/kd-seed0")
    presets = {entry["preset"]: entry for entry in json.loads(answers["presets json"].text)}
    assert presets["imagenet/resnet34-resnet18"]["settings"] == {"t_norm": 1.0}
    assert presets["cifar100/vgg13-vgg8"]["lr"] == 0.05 and presets["cifar100/vgg13-vgg8"]["published"] is True
    assert json.loads(answers["stats json"].text)["logits.npy"]["n"] == 60


def test_doctor_has_a_line_with_what_to_do_for_each_missing_data_set(seen):
    for name in ("cifar100", "cifar10"):
        (line,) = [line for line in seen["doctor"].lines if f" {name}: " in line]
        assert "missing" in line and line.endswith("--data-root DIR")


WORDS = Table(
    [
        Column("name"),
        Column("value", right=True),
        Column("words", wraps=True),
        Column("group", heading=True),
        Column("where from", notes=True),
        Column("extra", drop=1),
        Column("further", drop=2),
    ],
    [
        [f"row{i}", str(10**i), "some words that go on " * 2, f"group {i % 2}", f"source {i % 3}", "e", "f"]
        for i in range(6)
    ],
)


@pytest.mark.parametrize("width", [12, 20, 30, 40, 60, 80, 200])
def test_a_table_keeps_all_it_does_not_say_it_leaves_out(width):
    from rich.console import Console

    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        for part in WORDS.fitted(width):
            console.print(part)
    text = capture.get()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    joined = re.sub(r"\s+", "", text)
    for row in WORDS.rows:
        assert all(re.sub(r"\s+", "", cell) in joined for cell in (row[0], row[1], row[3], row[4]))
    left_out = re.sub(r"\s+", " ", text).partition("Left out at this width: ")[2]
    assert ("further" in left_out) == (width < 60) and ("extra" not in left_out or "further" in left_out)


def test_a_plain_table_has_every_column():
    head, _, *rows = WORDS.plain().splitlines()
    assert head.split("  ")[0] == "name" and "where from" in head and len(rows) == 6 and "source 2" in rows[2]

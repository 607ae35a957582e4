"""What README and docs/ tell people to type: commands are understood, code runs, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

from normkd_explore import cli, methods
from normkd_explore.cli.main import load
from normkd_explore.examples.tiny_transformer import TinyTransformer
from normkd_explore.export import export_model
from normkd_explore.models import create_model
from normkd_explore.models.own import OWN
from tests.helpers.toy import toy_dataset

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGETS = re.compile(r"^([a-z]+):", re.MULTILINE)
SHORT_RUN = {"own.md", "README.md", "methods.md", "neighbours.md"}


def commands(page: Path) -> list[str]:
    """The indented lines of a page, without the words behind #."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return [line.split("  #")[0].strip() for line in INDENTED.findall(text)]


ALL = [(page.name, line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize(("page", "line"), ALL)
def test_every_command_is_understood(page, line):
    words = shlex.split(line)
    if words[0] == "normkd" or "normkd_explore" in words or words[:2] == ["python", "mine.py"]:
        start = words.index("normkd_explore") if "normkd_explore" in words else 1 if words[0] == "python" else 0
        understood(words[start + 1 :])
    elif words[0] == "make":
        assert words[1] in TARGETS.findall((ROOT / "Makefile").read_text())
    elif words[:2] == ["python", "-m"]:
        module = ROOT / (words[2].replace(".", "/") + ".py")
        assert module.exists() or words[2] in ("pip", "pytest")
    elif words[0] == "python":
        assert (ROOT / words[1]).exists()
    elif words[0] in ("pip", "conda"):
        assert "environment.yml" not in line or (ROOT / "environment.yml").exists()
    else:
        assert words[0] in ("pytest", "sbatch", "git", "ruff", "cosmic-ray", "pyright", "mypy", "tensorboard"), line


def understood(arguments: list[str]) -> None:
    """The command takes these options and values; nothing is run."""
    name, *rest = arguments
    load(name).make_context(name, rest)


class MyNet(torch.nn.Module):
    """A reader's network."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.model = create_model("resnet8", num_classes)

    def forward(self, images):
        return {"logits": self.model(images)}


@pytest.fixture
def around(tmp_path, monkeypatch):
    """The names that the pages' code takes for granted."""
    toy = toy_dataset()
    batch = torch.randn(4, 3, 12, 12)
    before = dict(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "main", lambda: None)
    yield {
        "F": torch.nn.functional,
        "torch": torch,
        "MyNet": MyNet,
        "out": tmp_path / "run",
        "images": toy.train.images_NHWC,
        "labels": toy.train.labels_N,
        "class_names": tuple("abcde"),
        "my_teacher": MyNet(5),
        "my_student": MyNet(5).model,
        "batch": batch,
        "targets": torch.tensor([0, 1, 2, 3]),
        "tokens": torch.randint(0, 500, (5, 32)),
        "language_teacher": TinyTransformer(width=8, layers=1),
        "language_student": TinyTransformer(width=8, layers=1),
        "logits_student": torch.randn(56, 5),
        "logits_teacher": torch.randn(56, 5),
    }
    OWN.clear()
    OWN.update(before)


BLOCKS = [
    (page.name, i, code)
    for page in PAGES
    for i, (language, code) in enumerate(FENCED.findall(page.read_text(encoding="utf-8")))
    if language == "python" and page.name in SHORT_RUN
]


@pytest.mark.parametrize(("page", "i", "code"), BLOCKS, ids=[f"{page}-{i}" for page, i, _ in BLOCKS])
def test_every_block_of_code_runs(page, i, code, around, tmp_path, monkeypatch):
    if "my_teacher(" in code:
        around["my_teacher"] = MyNet(5).model
    if page == "README.md":
        around |= {"teacher": MyNet(5).model, "student": MyNet(5).model, "images": around["batch"]}
        around |= {"labels": around["targets"]}
    if "student.onnx" in code:
        monkeypatch.chdir(tmp_path)
        data = toy_dataset(side=32)
        export_model(MyNet(5), data, tmp_path / "student.onnx")
        Image.fromarray(data.test.images_NHWC[0].numpy()).save(tmp_path / "image.png")
    exec(compile(code.replace("MyNet(3)", "MyNet(5)"), f"{page}, block {i}", "exec"), around)
    assert "loss" not in around or torch.isfinite(around["loss"])
    if "summary" in around:
        assert around["summary"]["test"]["n"] > 0 and (around["out"] / "student.safetensors").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short_enough_to_read(page):
    long = [line for line in page.read_text(encoding="utf-8").splitlines() if len(line) > 120 and "|" not in line]
    assert not long


def test_methods_named_in_the_pages_exist():
    for page, line in ALL:
        for words in re.findall(r"--methods? (\S+)", line):
            for spec in words.split(","):
                assert spec.split(":")[0] in {*methods.METHODS, "devkd", "rangekd"}, (page, line)

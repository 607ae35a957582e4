"""Damages of files, and the runs, caches and logits that `benchmarks.damaged_files` does them to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from normkd_explore.models import create_model, save_weights
from normkd_explore.training import Interrupted, train
from normkd_explore.training.recipes.recipe import Recipe

COLOURS = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}
OTHERS: tuple[Any, ...] = (None, "text", -1, 0.5, [], {}, [1], {"a": 1})  # values of other types
Damage = tuple[str, Callable[[Path], None]]


def write_pictures(root: Path) -> None:
    """Three classes of noisy PNG files, 12 x 12 pixels: 8 of each to learn from and 4 to test."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels_HWC = np.array(colour) + random.normal(0, 30, (12, 12, 3))
                picture = Image.fromarray(pixels_HWC.clip(0, 255).astype(np.uint8))
                picture.save(root / split / name / f"{number}.png")


def write_teacher(path: Path) -> None:
    """Weights that were never trained."""
    torch.manual_seed(0)
    save_weights(create_model("resnet8", num_classes=3), path, metadata={"model": "resnet8"})


def write_logits(folder: Path) -> None:
    """The same logits and labels in every format that is read."""
    folder.mkdir()
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(40, 5)).astype(np.float32), random.integers(0, 5, 40)
    np.save(folder / "logits.npy", logits)
    np.savez(folder / "logits.npz", logits=logits, labels=labels)
    save_file({"logits": torch.tensor(logits), "labels": torch.tensor(labels)}, folder / "logits.safetensors")
    torch.save({"logits": torch.tensor(logits), "labels": torch.tensor(labels)}, folder / "logits.pt")
    np.savetxt(folder / "logits.csv", logits, delimiter=",")


def stop_in_second_epoch(recipe: Recipe, out: Path, **options: Any) -> None:
    """A run that was stopped after a step of its second epoch: it has two checkpoints."""

    def watch(moment: Any, runs: Any) -> None:
        if (moment.epoch, moment.step) == (1, 1):
            os.kill(os.getpid(), 15)

    try:
        train(recipe, out, watch=watch, **options)
    except Interrupted:
        return
    raise RuntimeError("the run was not stopped")


def damages(path: Path, flips: int) -> Iterator[Damage]:
    """Everything that is done to a file: to its bytes, to its place, and to the values of JSON and YAML."""
    yield from _of_bytes(path.read_bytes(), flips)
    yield from _of_places()
    if path.suffix in (".json", ".jsonl", ".yaml"):
        yield from _of_text(path.read_text())
    if path.suffix in (".json", ".yaml"):
        yield from _of_values(path)


def _of_bytes(whole: bytes, flips: int) -> Iterator[Damage]:
    random = np.random.default_rng(len(whole))
    for share in (0, 10, 50, 90):
        yield f"cut at {share} %", _writing(whole[: len(whole) * share // 100])
    yield "last byte cut off", _writing(whole[:-1])
    yield "zeros", _writing(bytes(len(whole)))
    yield "noise", _writing(random.bytes(len(whole)))
    yield "one byte more", _writing(whole + b"\xe9")
    for number in range(flips):
        changed = bytearray(whole)
        changed[random.integers(len(whole))] ^= 1 << random.integers(8)
        yield f"flipped bit {number}", _writing(bytes(changed))


def _of_places() -> Iterator[Damage]:
    yield "missing", Path.unlink
    yield "folder", lambda path: (path.unlink(), path.mkdir())[1]
    yield "named pipe", lambda path: (path.unlink(), os.mkfifo(path))[1]


def _of_text(text: str) -> Iterator[Damage]:
    middle = len(text) // 2
    yield "latin-1", _writing(text[:middle].encode() + "é".encode("latin-1") + text[middle:].encode())
    yield "UTF-16", _writing(text.encode("utf-16"))
    yield "tabs", _writing(text.replace(" ", "\t").encode())


def _of_values(path: Path) -> Iterator[Damage]:
    """Other values under each name, and other things than names and values; without the checksum, if there is one."""
    read, write = (yaml.safe_load, yaml.safe_dump) if path.suffix == ".yaml" else (json.loads, json.dumps)
    value = read(path.read_text())
    unsealed = {name: part for name, part in value.items() if name != "checksum"}
    for other in (*OTHERS, unsealed | {"more": 1}):
        yield f"root {other!r:.20}", _writing(write(other).encode())
    for name, part in unsealed.items():
        rest = {key: kept for key, kept in unsealed.items() if key != name}
        yield f"without {name}", _writing(write(rest).encode())
        for other in OTHERS:
            if _kind(other) is not _kind(part):
                yield f"{name}: {other!r}", _writing(write({**unsealed, name: other}).encode())


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _writing(content: bytes) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(content), None)[1]


def restore(source: Path, place: Path) -> None:
    """Make the contents of a folder those of another; the folder itself stays, since it may be where we are."""
    for entry in place.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.copytree(source, place, dirs_exist_ok=True)

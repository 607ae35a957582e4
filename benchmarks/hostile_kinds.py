"""Files made to mislead, to hang or to harm: what `benchmarks.hostile_files` gives to every reader."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from normkd_explore.models import create_model

MADE = Path("made")  # what a file's program would make
MANY = 10  # damaged files of each sort, from which on there are also archives that take seconds to write


class Program:
    """Unpickling it would make a file, if anybody let it."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def programs() -> dict[str, Program]:
    """Four ways to run something."""
    touch = f"open({str(MADE)!r}, 'w').close()"
    return {
        "system": Program(os.system, f"touch {MADE}"),
        "eval": Program(eval, touch),
        "exec": Program(exec, touch),
        "open": Program(open, str(MADE), "w"),
    }


def damaged(whole: bytes, flips: int, random: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """A file cut off at ten places, and with some of its bytes changed."""
    for tenth in range(10):
        yield f"cut at {tenth}0 %", whole[: len(whole) * tenth // 10]
    for number in range(flips):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            content[place] = random.integers(256)
        yield f"flipped {number}", bytes(content)


def write_strange_places(folder: Path, suffix: str) -> None:
    """What has a file's name and is none."""
    os.mkfifo(folder / f"pipe{suffix}")
    (folder / f"device{suffix}").symlink_to("/dev/zero")
    (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
    (folder / f"gone{suffix}").symlink_to(folder / "nothing")
    (folder / f"link to pipe{suffix}").symlink_to(folder / f"pipe{suffix}")


def write_images(folder: Path, flips: int) -> None:
    """Pictures of every announced format, damaged; other formats under their names; impossible sizes."""
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    for format, suffix in (
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
        ("WEBP", "webp"),
        ("PPM", "ppm"),
    ):
        for name, content in damaged(_stored(picture, format), flips, random):
            (folder / f"{format} {name}.{suffix}").write_bytes(content)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"
    others = {"EPS": eps, "PSD": b"8BPS" + bytes(60), "text": b"<html>", "none": b""}
    others |= {kind: _stored(picture, kind) for kind in ("GIF", "TGA", "ICO", "PCX", "SGI", "PDF")}
    for kind, content in others.items():
        for suffix in ("png", "jpg", "tif", "webp"):
            (folder / f"{kind} as {suffix}.{suffix}").write_bytes(content)
    header = b"P6 50000 50000 255\n"
    (folder / "huge.ppm").write_bytes(header + bytes(300))
    huge = bytearray(_stored(picture, "PNG"))
    huge[16:24] = (50_000).to_bytes(4, "big") * 2
    (folder / "huge with a wrong checksum.png").write_bytes(huge)
    bitmap = bytearray(_stored(picture, "BMP"))
    bitmap[18:26] = (50_000).to_bytes(4, "little") * 2
    (folder / "huge.bmp").write_bytes(bitmap)
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    Image.fromarray(ramp.astype(np.int32)).save(folder / "mode I.tif")
    Image.fromarray(ramp.astype(np.float32)).save(folder / "mode F.tif")
    write_strange_places(folder, ".jpg")


def write_weights(folder: Path, flips: int) -> None:
    """Weight files that are damaged, that are programs, or that claim more than they hold."""
    random, state = np.random.default_rng(1), create_model("resnet8", 5).state_dict()
    torch.save(state, folder / "whole.pth")
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "whole.safetensors")
    for suffix in ("pth", "safetensors"):
        whole = (folder / f"whole.{suffix}").read_bytes()
        for name, content in damaged(whole, flips, random):
            (folder / f"{name}.{suffix}").write_bytes(content)
        write_strange_places(folder, f".{suffix}")
    for name, program in programs().items():
        torch.save({"model": state, "opt": program}, folder / f"{name} beside.pth")
        (folder / f"{name}.pth").write_bytes(pickle.dumps(program))
        (folder / f"{name} after weights.pkl").write_bytes(pickle.dumps({"model": {}, "opt": program}, protocol=2))
    torch.save({"a": torch.zeros(1, 1).expand(10**12, 10)}, folder / "10^12 rows.pth")
    torch.save({name: value * float("nan") for name, value in state.items()}, folder / "not a number.pth")
    torch.save({name: value.to(torch.complex64) for name, value in state.items()}, folder / "complex.pth")
    if flips >= MANY:
        _bomb(folder / "bomb.pth", "archive/data.pkl", 5 * 2**28)
        _bomb(folder / "bomb.zip", "x", 5 * 2**28)


def write_logits(folder: Path, flips: int) -> None:
    """Files of logits, likewise."""
    random, logits_NC = np.random.default_rng(2), torch.randn(20, 4)
    np.save(folder / "whole.npy", logits_NC.numpy())
    np.savez_compressed(folder / "whole.npz", logits=logits_NC.numpy())
    torch.save({"logits": logits_NC}, folder / "whole.pt")
    save_file({"logits": logits_NC}, folder / "whole.safetensors")
    np.savetxt(folder / "whole.csv", logits_NC.numpy(), delimiter=",")
    for suffix in ("npy", "npz", "pt", "safetensors", "csv"):
        for name, content in damaged((folder / f"whole.{suffix}").read_bytes(), flips, random):
            (folder / f"{name}.{suffix}").write_bytes(content)
        write_strange_places(folder, f".{suffix}")
    for name, program in programs().items():
        torch.save({"logits": program}, folder / f"{name}.pt")
        np.save(folder / f"{name}.npy", np.array([program], dtype=object), allow_pickle=True)
        np.savez(folder / f"{name}.npz", logits=np.array([program], dtype=object))
    for rows, columns in ((10**12, 10), (10**12, 0), (2**33, 1)):
        (folder / f"{rows} x {columns}.npy").write_bytes(_npy_header((rows, columns)) + bytes(800))
        torch.save(torch.zeros(1, 1).expand(rows, columns), folder / f"{rows} x {columns}.pt")
        with zipfile.ZipFile(folder / f"{rows} x {columns}.npz", "w") as archive:
            archive.writestr("logits.npy", _npy_header((rows, columns)) + bytes(800))
    if flips >= MANY:
        _bomb(folder / "bomb.npz", "logits.npy", 5 * 2**28)
    torch.save(torch.zeros(3, 4, dtype=torch.complex64), folder / "complex.pt")
    (folder / "other bytes.csv").write_bytes("ä,ö\n1,2\n".encode("utf-16"))
    (folder / "one cell.csv").write_bytes(b'"' + b"1" * 300_000 + b'"\n')


def write_pickles(folder: Path, flips: int) -> None:
    """What CIFAR's files are, and what they must never be."""
    random = np.random.default_rng(3)
    whole = pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "fine_labels": [0, 1, 2, 3]}, protocol=2)
    for name, content in damaged(whole, flips, random):
        (folder / name).write_bytes(content)
    for name, program in programs().items():
        (folder / name).write_bytes(pickle.dumps({"data": program}))


def _stored(picture: Image.Image, format: str) -> bytes:
    stored = io.BytesIO()
    picture.save(stored, format)
    return stored.getvalue()


def _npy_header(shape: tuple[int, ...]) -> bytes:
    stored = io.BytesIO()
    np.lib.format.write_array_header_1_0(stored, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stored.getvalue()


def _bomb(path: Path, name: str, size: int) -> None:
    """A zip archive that packs zeros a thousand times."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as entry,
    ):
        entry.write(_npy_header((size // 8, 1)))
        for _ in range(size >> 24):
            entry.write(bytes(1 << 24))

"""The file formats: how a student is written, how the file is run, and what a user types to do so.

Shapes: B batch, S image size in pixels, C classes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from normkd_explore.export.student import Deployed

Facts = Mapping[str, str]
"""What a file says about itself: "classes", one name a line in the order of the logits, and where it comes from."""
Run = Callable[[Tensor], Tensor]
"""A file that was opened: uint8 (B, S, S, 3) -> logits (B, C)."""
EXAMPLES = 2  # traced with one image, the batch would be taken for a constant


@dataclass(frozen=True)
class Format:
    """A file format of the command's --format."""

    name: str
    """Also the ending of its files."""
    needs: tuple[str, ...]
    """Packages beside this one's own, the extra `export`."""
    write: Callable[[ExportedProgram, Path, Facts], None]
    open: Callable[[Path], Run]
    snippet: str
    """Five lines that classify a picture with the file, with {file} and {size} to fill in."""

    def require(self) -> None:
        """ValueError, saying what to install, where a package is missing."""
        missing = [name for name in self.needs if find_spec(name) is None]
        if missing:
            raise ValueError(
                f"--format {self.name} needs {', '.join(missing)}, not installed here: "
                "pip install 'normkd-explore[export]'. --format pt2 needs nothing besides PyTorch."
            )


def traced(student: Deployed, size: int) -> ExportedProgram:
    """The student as a graph of operations, for batches of any size.

    Raises:
        ValueError: its forward branches on the data.
    """
    images = torch.zeros(EXAMPLES, size, size, 3, dtype=torch.uint8)
    with _quiet():
        try:
            return torch.export.export(student, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        except Exception as error:  # tracing runs the network's own code on stand-ins: it may raise anything
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{type(student.network).__name__} cannot be traced for an export ({reason}). Wanted a forward that "
                "takes the same way for every image: no `if` on values of a tensor, no numpy in between."
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' progress and advice for their own developers go nowhere."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _write_onnx(program: ExportedProgram, path: Path, facts: Facts) -> None:
    with _quiet():
        made = torch.onnx.export(
            program, (), input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
        )
        assert made is not None  # without a file name it is the program
        made.model.metadata_props.update(facts)
        made.save(str(path), external_data=False)


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images_BSS3: Tensor) -> Tensor:
        (logits_BC,) = session.run(None, {"images": np.ascontiguousarray(images_BSS3.numpy())})
        return torch.from_numpy(np.asarray(logits_BC))

    return run


def _write_pt2(program: ExportedProgram, path: Path, facts: Facts) -> None:
    with path.open("wb") as file:  # a stream, because a path has to end in .pt2
        torch.export.save(program, file, extra_files=dict(facts))


def _open_pt2(path: Path) -> Run:
    with path.open("rb") as file, _quiet():
        module = torch.export.load(file).module()

    def run(images_BSS3: Tensor) -> Tensor:
        with torch.no_grad():
            return module(images_BSS3)

    return run


ONNX = Format(
    "onnx",
    ("onnx", "onnxruntime", "onnxscript"),
    _write_onnx,
    _open_onnx,
    """\
import numpy, onnxruntime, PIL.Image
student = onnxruntime.InferenceSession("{file}")
image = numpy.asarray(PIL.Image.open("image.png").convert("RGB").resize(({size}, {size})))
logits = student.run(None, {{"images": image[None]}})[0]
print(student.get_modelmeta().custom_metadata_map["classes"].split("\\n")[logits.argmax()])""",
)
PT2 = Format(
    "pt2",
    (),
    _write_pt2,
    _open_pt2,
    """\
import numpy, torch, PIL.Image
student = torch.export.load("{file}", extra_files=(facts := {{"classes": ""}})).module()
image = numpy.array(PIL.Image.open("image.png").convert("RGB").resize(({size}, {size})))
logits = student(torch.from_numpy(image)[None])
print(facts["classes"].split("\\n")[logits.argmax()])""",
)
FORMATS: dict[str, Format] = {made.name: made for made in (ONNX, PT2)}

"""torch.compile for the networks of a step: what is compiled, when, and what happens where that is not possible.

Only the step's heavy part is compiled: the student's forward and backward pass for a full batch, and on a GPU the
teacher's forward pass. The smaller last batch of an epoch and every evaluation run as they do without compiling, and
the loss stays in plain PyTorch, so a run has one graph a network whatever its length. It is made before the network's
first step and by no later one.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from normkd_explore.notices import notice
from normkd_explore.training.machine import processes

BACKEND = "inductor"  # tests of everything around it take a quicker one
GRAPHS = 64  # compiled forms of one piece of source in this process, all networks together; a run needs one or two
WAY_OUT = (
    "Training works without --compile. A run that was started with it can go on: write `compile: false` into its "
    "config.yaml and use --resume without --compile (later numbers then differ by rounding)."
)


class CompileError(RuntimeError):
    """A network cannot be compiled here; nothing was trained or changed by the attempt."""


class Compiled:
    """A network's forward pass, and its backward pass where there is one, as code compiled at the first call.

    Args:
        model: the network. It is not changed, and its own calls stay as they are.
        any_rows: the graph serves other numbers of rows too, where its kernels allow them (inference); else the first
            call's number is the only one.

    Raises:
        CompileError: at the first call, when the compiler fails; the message holds its reason.
    """

    def __init__(self, model: nn.Module, any_rows: bool = False) -> None:
        self.model, self.any_rows = model, any_rows
        self.seconds = 0.0
        """What compiling took."""
        self._ready = False
        self._code = torch.compile(model, dynamic=None if any_rows else False, backend=BACKEND)

    def __call__(self, images_BCHW: Tensor, *flags: Any, **options: Any) -> Any:
        if not self._ready:
            self._prepare(images_BCHW, flags, options)
        # Whatever this graph does not cover runs uncompiled: no step in the middle of a run waits for a compiler.
        with torch.compiler.set_stance("eager_on_recompile"):
            return self._code(images_BCHW, *flags, **options)

    def _prepare(self, images_BCHW: Tensor, flags: tuple, options: dict[str, Any]) -> None:
        """Compile, and leave no trace: random state, BatchNorm's statistics and gradients stay as they were."""
        _say(f"compiling {type(self.model).__name__} for batches of {len(images_BCHW)}: once, it may take a minute ...")
        start, on_gpu = time.perf_counter(), images_BCHW.device.type == "cuda"
        before = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        try:
            with torch.random.fork_rng([images_BCHW.device] if on_gpu else []):
                self._try_out(images_BCHW, flags, options)
        except torch.OutOfMemoryError:
            raise  # it says what to do, and the compiler is not to blame
        except Exception as error:  # a compiler's many parts fail in many ways
            raise CompileError(
                f"compile: {type(self.model).__name__} could not be compiled: {_short(error)} {WAY_OUT}"
            ) from error
        finally:
            with torch.no_grad():
                for buffer, value in before:
                    buffer.copy_(value)
        self.seconds, self._ready = time.perf_counter() - start, True
        _say(f"compiled in {self.seconds:.0f} s")

    def _try_out(self, images_BCHW: Tensor, flags: tuple, options: dict[str, Any]) -> None:
        """One pass forward and one backward, for each of which the compiler starts when it is first needed."""
        if self.any_rows:
            torch._dynamo.maybe_mark_dynamic(images_BCHW, 0)
        with torch._dynamo.config.patch(recompile_limit=GRAPHS):
            outputs = [tensor for tensor in _tensors(self._code(images_BCHW, *flags, **options)) if tensor.grad_fn]
            if outputs:
                # Asking for gradients, unlike `backward`, leaves .grad alone, and the hooks that average it.
                parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
                torch.autograd.grad(outputs, parameters, [torch.zeros_like(o) for o in outputs], allow_unused=True)
        if images_BCHW.device.type == "cuda":
            torch.cuda.synchronize(images_BCHW.device)


class CompiledInTraining(nn.Module):
    """A student whose training steps of `rows` images are compiled; everything else is the bare `model`.

    The model keeps its names and its tensors: weights and checkpoints are those of a run without compiling.
    """

    def __init__(self, model: nn.Module, rows: int) -> None:
        super().__init__()
        self.model, self.rows = model, rows
        self.compiled = Compiled(model)

    def forward(self, images_BCHW: Tensor, **options: Any) -> Any:
        """What `model` returns."""
        step = self.training and torch.is_grad_enabled() and len(images_BCHW) == self.rows
        return (self.compiled if step else self.model)(images_BCHW, **options)


def require_compiler(device: torch.device) -> None:
    """CompileError unless a line of code can be compiled for `device`; it names what is missing."""
    reason = missing(device.type) or _first_words(device)
    if reason:
        raise CompileError(f"compile: {reason}. {WAY_OUT}")


def missing(kind: str) -> str | None:
    """What compiling for devices of a kind ("cpu", "cuda") lacks on this machine; None if nothing is seen to lack."""
    if kind == "cuda" and find_spec("triton") is None:
        return "Triton is not installed (pip install triton), and code for a GPU needs it"
    # Triton compiles a few lines of C to start its kernels.
    variable, names = ("CC", ("gcc", "clang")) if kind == "cuda" else ("CXX", (_usual_compiler(),))
    names = (os.environ[variable],) if os.environ.get(variable) else names
    if any(shutil.which(name) for name in names):
        return None
    return f"no {'C' if kind == 'cuda' else 'C++'} compiler was found (looked for {' and '.join(names)} in PATH)"


def _usual_compiler() -> str:
    return {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")


@cache
def _first_words(device: torch.device) -> str | None:
    """Why a first line of code cannot be compiled, in a line; None if it can."""
    try:
        # A sum of doubled numbers: one kernel, so the time is that of starting the compiler.
        code = torch.compile(lambda x_N: (2 * x_N).sum(), backend=BACKEND)
        code(torch.ones(64, device=device))
    except Exception as error:  # a compiler's many parts fail in many ways
        return f"a first line of code could not be compiled for {device}: {_short(error).rstrip('.')}"
    return None


def _tensors(output: Any) -> list[Tensor]:
    """The tensors of a network's output: logits alone, or with features in nested tuples."""
    if isinstance(output, Tensor):
        return [output]
    return [tensor for part in output for tensor in _tensors(part)] if isinstance(output, tuple | list) else []


def _short(error: Exception) -> str:
    """The first line of an error that says something; "backend='inductor' raised:" stands before the true one."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = next((line for line in lines if line and not line.endswith("raised:")), "no reason given")
    return f"{type(error).__name__}: {said[:300].rstrip('.')}."


def _say(text: str) -> None:
    if processes.first():
        notice(text)

"""Peak memory and time of the losses on language models' logits, memory relative to both logit tensors.

    python -m benchmarks.language_memory [positions [vocabulary]]

One line a loss: composed from ordinary operations, chunk by chunk, chunk by chunk with the gradient written over the
teacher's logits, and with a teacher's stored top 64 (read from a file, the rest as one class) in the place of all of
its logits. Forward and backward, float32; seconds of the median of five passes. The student's gradient alone adds 0.5
where it has memory of its own, so with both tensors only "teacher consumed" can stay below 1.5; with a top k the
student's logits and their gradient are 1.0. Each case runs in a process of its own, because a process cannot lower its
peak.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS = ("composed", "chunked", "chunked, teacher consumed", "stored top 64")
STORED = WAYS[3]
KEPT = 64
PASSES = 5
LOSSES = ("TokenKL", "TokenReverseKL", "TokenNormKD", "TokenBiLD")


def peak(name: str, way: str, positions: int, vocabulary: int) -> float:
    """Largest memory of one forward and backward pass beyond the process itself, in units of both logit tensors."""
    return case(name, way, positions, vocabulary)[0]


def case(name: str, way: str, positions: int, vocabulary: int) -> tuple[float, float]:
    """Peak memory, and seconds of a pass."""
    with tempfile.TemporaryDirectory() as folder:
        if way == STORED:  # by a process of its own: all logits are in memory there
            _run("store", folder, str(positions), str(vocabulary))
        memory, seconds = _run("measure", name, way, str(positions), str(vocabulary), folder).split()
    return float(memory), float(seconds)


def _run(*words: str) -> str:
    command = [sys.executable, "-m", "benchmarks.language_memory", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def store(folder: str, positions: str, vocabulary: str) -> None:
    """The top k of random logits, a sample of all positions, and a small one to begin with."""
    import torch

    from normkd_explore.language import TopKFile

    for name, shape in (("small", (4, 1000)), ("large", (int(positions), int(vocabulary)))):
        named = {"teacher": "random", "data": "random", "k": KEPT, "tell": lambda text: None}
        with TopKFile.create(Path(folder) / name, 1, *shape, **named) as writer:
            writer.write(torch.tensor([0]), torch.randn(1, *shape), torch.arange(shape[0])[None])


def measure(name: str, way: str, positions: str, vocabulary: str, folder: str) -> None:
    """Print peak memory and seconds of one case."""
    import torch

    from normkd_explore import language

    torch.set_num_threads(1)
    make = getattr(language, name)
    shape = int(positions), int(vocabulary)
    # Libraries load and allocate at the first use.
    _pass(make(), way, torch.randn(4, 1000).requires_grad_(), _teacher(way, (4, 1000), Path(folder) / "small", name))
    before = _peak_bytes()
    student, teacher = torch.randn(shape).requires_grad_(), _teacher(way, shape, Path(folder) / "large", name)
    loss = make(consume_teacher=way == WAYS[2])
    _pass(loss, way, student, teacher)
    memory = (_peak_bytes() - before) / (2 * student.numel() * student.element_size())
    print(memory, statistics.median(_timed(loss, way, student, teacher) for _ in range(PASSES)))


def _teacher(way: str, shape: tuple[int, int], path: Path, name: str) -> Any:
    """The teacher's logits, or what was stored of them and is read from the file in every pass."""
    import torch

    from normkd_explore.language import TopKFile

    if way != STORED:
        return torch.randn(shape)
    return TopKFile(path, mass="renormalised" if name == "TokenBiLD" else "rest")


def _pass(loss, way, student, teacher) -> None:
    import torch

    if way == STORED:
        teacher = teacher.read(torch.tensor([0]))[0]
    value = loss.loss(student, teacher) if way == WAYS[0] else loss(student, teacher)
    value.backward()
    student.grad = None


def _timed(loss, way, student, teacher) -> float:
    start = time.perf_counter()
    _pass(loss, way, student, teacher)
    return time.perf_counter() - start


def _peak_bytes() -> int:
    # Linux hands ru_maxrss down from the process that started this one, so a large parent would hide the peak.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(positions: int = 256, vocabulary: int = 150_000) -> None:
    print(f"{positions} positions, vocabulary {vocabulary:,}; peak memory / both logit tensors, seconds of a pass")
    print(f"{'':16}" + "".join(f"{way:>28}" for way in WAYS))
    for name in LOSSES:
        cases = [case(name, way, positions, vocabulary) for way in WAYS]
        print(f"{name:16}" + "".join(f"{memory:19.2f}{seconds:7.2f} s" for memory, seconds in cases), flush=True)


if __name__ == "__main__":
    inner = {"store": store, "measure": measure}
    if sys.argv[1:] and sys.argv[1] in inner:
        inner[sys.argv[1]](*sys.argv[2:])
    else:
        main(*map(int, sys.argv[1:]))

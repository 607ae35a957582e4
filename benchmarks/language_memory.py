"""Peak memory of the losses on language models' logits, relative to the two logit tensors themselves.

    python -m benchmarks.language_memory [positions [vocabulary]]

One line a loss: composed from ordinary operations, chunk by chunk, and chunk by chunk with the gradient written over
the teacher's logits. Forward and backward, float32. The student's gradient alone adds 0.5 where it has memory of its
own, so only the last column can stay below 1.5. Each case runs in a process of its own, because a process cannot lower
its peak.
"""

import resource
import subprocess
import sys
from pathlib import Path

WAYS = ("composed", "chunked", "chunked, teacher consumed")
LOSSES = ("TokenKL", "TokenReverseKL", "TokenNormKD", "TokenBiLD")


def peak(name: str, way: str, positions: int, vocabulary: int) -> float:
    """Largest memory of one forward and backward pass beyond the process itself, in units of both logit tensors."""
    arguments = [sys.executable, "-m", "benchmarks.language_memory", name, way, str(positions), str(vocabulary)]
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)


def measure(name: str, way: str, positions: int, vocabulary: int) -> float:
    import torch

    from normkd_explore import language

    torch.set_num_threads(1)
    make = getattr(language, name)
    _pass(make(), way, torch.randn(2, 4, 1000))  # libraries load and allocate at the first use
    before = _peak_bytes()
    logits = torch.randn(2, positions, vocabulary)
    _pass(make(consume_teacher=way == WAYS[2]), way, logits)
    return (_peak_bytes() - before) / (logits.numel() * logits.element_size())


def _pass(loss, way, logits) -> None:
    student, teacher = logits[0].requires_grad_(), logits[1]
    value = loss.loss(student, teacher) if way == WAYS[0] else loss(student, teacher)
    value.backward()


def _peak_bytes() -> int:
    # Linux hands ru_maxrss down from the process that started this one, so a large parent would hide the peak.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(positions: int = 256, vocabulary: int = 150_000) -> None:
    print(f"{positions} positions, vocabulary {vocabulary:,}; peak memory / both logit tensors")
    print(f"{'':16}" + "".join(f"{way:>28}" for way in WAYS))
    for name in LOSSES:
        print(f"{name:16}" + "".join(f"{peak(name, way, positions, vocabulary):28.2f}" for way in WAYS), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        print(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        main(*map(int, sys.argv[1:]))

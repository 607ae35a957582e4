"""How fast distillation trains here, beside a loop in the field's manner, on the same data, models and hardware.

    python -m benchmarks.training [--pair resnet20/resnet8 ...] [--precision 32-true bf16-mixed] [--repeats 3]
                                  [--steps 40] [--device cpu] [--compile] [--syncs]

The contestants take turns, each turn in a process of its own: `field` (see `benchmarks.field_loop`), in float32 and
with torch's and malloc's own settings, as a plain script runs; `tuned`, the same loop with this package's settings for
waiting threads and freed memory; `ours` (this package's loop, the teacher asked at every step), `cached` (the same with
all the teacher's logits known) and `student` (the student's step alone, on one batch that never changes), each in every
precision. Precisions: by default float32, and bf16-mixed where the device computes bfloat16.

The last column says what share of the machine's limit (see `benchmarks.limit`) in that precision the whole step
reaches: 3 x the student's floating-point operations of a forward pass, and those of the teacher where it is asked, a
second, over those of the limit, which is measured just before the turn. A ratio to the field is out of reach where it
would need a share near 100 %. `--syncs` counts where the host waited for the device.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

import torch

from benchmarks.bench import BATCH, Bench, waits_inside_an_epoch
from normkd_explore.training.machine.environment import cpu_name
from normkd_explore.training.machine.fabric import device_kind
from normkd_explore.training.machine.precision import FLOAT, MIXED, bf16_instructions

CPU_PAIRS = ("resnet20/resnet8", "resnet32x4/resnet8x4")
GPU_PAIRS = (
    *("resnet56/resnet20", "resnet110/resnet20", "resnet110/resnet32", "resnet32x4/resnet8x4", "wrn_40_2/wrn_16_2"),
    *("wrn_40_2/wrn_40_1", "vgg13/vgg8", "resnet32x4/ShuffleV1", "resnet32x4/ShuffleV2", "wrn_40_2/ShuffleV1"),
    *("vgg13/MobileNetV2", "ResNet50/MobileNetV2", "ResNet50/vgg8"),
)
CONTESTANTS = ("field", "tuned", "ours", "cached", "student")
AS_A_SCRIPT = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200", "GLIBC_TUNABLES": ""}
"""OpenMP's own spin counts, and a sign at which malloc is left as it is."""
Row = tuple[str, str]
"""A contestant and its precision."""
Turn = dict[str, Any]


def rows(precisions: list[str]) -> list[Row]:
    """The rows of a table: the field's loop knows float32 alone."""
    field = [(name, FLOAT) for name in CONTESTANTS[:2]]
    return field + [(name, precision) for precision in precisions for name in CONTESTANTS[2:]]


def measure_turns(arguments: argparse.Namespace, pair: str) -> dict[Row, list[Turn]]:
    """All rows' turns, alternating, each in a process of its own."""
    turns: dict[Row, list[Turn]] = {row: [] for row in rows(arguments.precision)}
    for _ in range(arguments.repeats):
        for (name, precision), found in turns.items():
            command = [sys.executable, "-m", "benchmarks.training", "--pair", pair, "--only", name]
            command += ["--precision", precision]
            for option in ("steps", "images", "device"):
                command += [f"--{option}", str(getattr(arguments, option))]
            command += ["--compile"] if arguments.compile else []
            environment = {**os.environ, **(AS_A_SCRIPT if name == "field" else {})}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return turns


def print_table(pair: str, turns: dict[Row, list[Turn]]) -> None:
    """Images per second, ratios to the field's loop turn by turn, and shares of the limit."""
    heads = f"{'images/s: min':>14} {'median':>9} {'max':>9} {'x field: min':>14} {'median':>7} {'max':>7}"
    print(f"\n{pair:24} {heads} {'of the limit':>14}")
    field = [turn["rate"] for turn in turns["field", FLOAT]]
    for (name, precision), found in turns.items():
        rates = [turn["rate"] for turn in found]
        ratios = [rate / base for rate, base in zip(rates, field, strict=True)]
        cells = [f"{min(rates):14,.0f} {statistics.median(rates):9,.0f} {max(rates):9,.0f}"]
        cells += [f"{min(ratios):14.2f} {statistics.median(ratios):7.2f} {max(ratios):7.2f}"]
        shares = [turn["share"] for turn in found]
        cells += [f"{statistics.median(shares):6.0%} ({min(shares):.0%} to {max(shares):.0%})"]
        print(f"  {name:10} {precision:11}", *cells)
    for precision in dict.fromkeys(precision for _, precision in turns):
        limits = [
            (turn["limit"], turn["limit_of"]) for row, found in turns.items() for turn in found if row[1] == precision
        ]
        flops, what = max(limits)
        print(f"  limit in {precision}: {flops / 1e9:,.0f} GFLOP/s, {what}", flush=True)


def one_turn(arguments: argparse.Namespace, pair: str) -> Turn:
    """A turn of one contestant, with the limit measured just before."""
    (precision,) = arguments.precision
    bench = Bench(pair, arguments.steps, arguments.images, arguments.device, precision, arguments.compile)
    limit = bench.limit()
    rate = bench.rate(arguments.only)
    share = rate * bench.step_flops(arguments.only) / limit.flops
    return {"rate": rate, "share": share, "limit": limit.flops, "limit_of": limit.what}


def default_precisions(device: str) -> list[str]:
    """float32, and bf16-mixed where the device computes bfloat16."""
    on_gpu = device_kind(device) == "cuda"
    computes = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else bf16_instructions()
    return [FLOAT, MIXED] if computes else [FLOAT]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--pair", nargs="+", default=GPU_PAIRS if on_gpu else CPU_PAIRS, help="TEACHER/STUDENT")
    parser.add_argument("--precision", nargs="+", help="32-true, bf16-mixed or both")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200 if on_gpu else 40)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="compile our networks, outside the clock")
    parser.add_argument("--only", choices=CONTESTANTS, help="one turn of one contestant, printed as JSON")
    parser.add_argument("--syncs", action="store_true", help="count where the host waited for the device")
    arguments = parser.parse_args()
    arguments.precision = arguments.precision or default_precisions(arguments.device)
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.only:
        print(json.dumps(one_turn(arguments, arguments.pair[0])))
        return
    threads = torch.get_num_threads()
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{cpu_name()}, {threads} threads"
    print(f"torch {torch.__version__}, {place}, batch {BATCH}, {arguments.steps} steps x {arguments.repeats} turns")
    for pair in arguments.pair:
        print_table(pair, measure_turns(arguments, pair))
        if arguments.syncs:
            waits = waits_inside_an_epoch(Bench(pair, arguments.steps, arguments.images, arguments.device))
            print(f"  host waits in {arguments.steps} steps: {dict(waits) or 'none'}", flush=True)


if __name__ == "__main__":
    main()

"""What each loss costs beside classic KD, forward and backward, in one run.

    python -m benchmarks.losses [device]

The losses take turns, so that whatever else the machine does meets them all; the median of the turns is shown. Beside
a network's own passes even the dearest is small: the last column is the cost as a share of one training step of a
resnet20 on 64 images of 32 x 32 pixels, measured in the same way.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from normkd_explore import losses
from normkd_explore.models import create_model

SHAPES = ((64, 100), (512, 1000))
TURNS = 41
LIMIT = 1.5

LOSSES: dict[str, torch.nn.Module] = {
    "KD": losses.KD(),
    "NormKD": losses.NormKD(),
    "LSKD": losses.LSKD(),
    "DKD": losses.DKD(),
    "NormDKD": losses.NormDKD(),
    "RLD": losses.RLD(),
    "NormRLD": losses.NormRLD(),
    "ATLC": losses.ATLC(),
    "DTKD": losses.DTKD(),
    "CTKD": losses.CTKD(),
    "DIST": losses.DIST(),
    "NormDIST": losses.NormDIST(),
    "MLKD": losses.MLKD(),
    "NormMLKD": losses.NormMLKD(),
    "TTM": losses.TTM(0.1),
    "WTTM": losses.WTTM(0.1),
    "NKD": losses.NKD(),
    "BiLD": losses.BiLD(),
    "NormBiLD": losses.NormBiLD(),
    "JSD": losses.JSD(),
    "SKL": losses.SKL(),
    "SRKL": losses.SRKL(),
    "ABKD": losses.ABKD(),
    "TAID": losses.TAID(),
    "WKD": losses.WKD(),
}

STD = "smallest, largest and std of every row, both networks, and the std's own gradient"
SPLIT = "the target is taken out of both rows, whose largest other class is searched, and then two divergences"
GRAM = "five temperatures, each with a softmax and five products of (B, B) with (B, C) or alike"
TOP_K = "two top-k searches and pairwise differences; a fixed cost for small classifiers"
COLUMNS = "correlations along the batch as well: passes across the memory order"
MIXTURE = "a mixture, whose logarithm takes two exponentials"
WHY = {
    "NormKD": STD,
    "LSKD": STD,
    "DKD": SPLIT,
    "NormDKD": f"{SPLIT}; {STD}",
    "RLD": f"two temperatures, and classes to leave out; {SPLIT}",
    "NormRLD": f"{SPLIT}; {STD}",
    "ATLC": STD,
    "DIST": COLUMNS,
    "NormDIST": COLUMNS,
    "MLKD": GRAM,
    "NormMLKD": GRAM,
    "WTTM": "a second softmax of the teacher for the weight",
    "NKD": SPLIT,
    "DTKD": "two maxima and their gradient",
    "CTKD": "the temperature's own gradient sums over all logits",
    "BiLD": TOP_K,
    "NormBiLD": TOP_K,
    "JSD": "a mixture, whose logarithm takes two exponentials, and two divergences from it",
    "SKL": MIXTURE,
    "SRKL": MIXTURE,
    "ABKD": "three powers of probabilities and a tanh",
    "TAID": "the target is mixed, and its softmax is another one",
    "WKD": "ten iterations with two products of (B, C) with (C, C) each, and the way back through them",
}


def seconds(step: Callable[[], None], device: str) -> float:
    """Wall time of one step, the device's work included."""
    _wait(device)
    start = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def medians(steps: dict[str, Callable[[], None]], device: str) -> dict[str, float]:
    """Median seconds of each step; all take a turn, then all the next."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(TURNS + 2):
        for name, step in steps.items():
            spent = seconds(step, device)
            if turn >= 2:
                times[name].append(spent)
    return {name: statistics.median(values) for name, values in times.items()}


def step_of(loss: torch.nn.Module, batch: int, classes: int, device: str) -> Callable[[], None]:
    """One forward and backward pass of the loss on fixed random logits."""
    generator = torch.Generator().manual_seed(0)
    s, t = (x.to(device) for x in 3 * torch.randn(2, batch, classes, generator=generator))
    y = torch.randint(0, classes, (batch,), generator=generator).to(device)
    s.requires_grad_()
    loss = loss.to(device)

    def step() -> None:
        s.grad = None
        loss(s, t, y).backward()

    return step


def network_step(device: str) -> Callable[[], None]:
    """Forward and backward of a resnet20 on a batch of 64."""
    model = create_model("resnet20", num_classes=100).to(device)
    images_BCHW = torch.randn(64, 3, 32, 32, device=device)
    return lambda: model(images_BCHW).sum().backward()


def main(device: str = "cpu") -> None:
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {device}, {threads} thread{'s' * (threads > 1)}, medians of {TURNS} turns")
    tables = []
    for batch, classes in SHAPES:
        steps = {name: step_of(loss, batch, classes, device) for name, loss in LOSSES.items()}
        tables.append(medians(steps, device))
    small, large = tables
    # By itself: taking turns, it would leave the next loss, KD, to fetch its data and code from memory anew.
    small |= medians({"network": network_step(device)}, device)
    head = [f"{batch} x {classes}" for batch, classes in SHAPES]
    print(f"{'':9} {head[0] + ' ms':>14} {'x KD':>6} {head[1] + ' ms':>14} {'x KD':>6} {'of a step':>10}")
    for name in LOSSES:
        ratios = small[name] / small["KD"], large[name] / large["KD"]
        share = small[name] / small["network"]
        why = f"  {WHY.get(name, '')}" if max(ratios) > LIMIT else ""
        cells = f"{1e3 * small[name]:14.3f} {ratios[0]:6.2f} {1e3 * large[name]:14.3f} {ratios[1]:6.2f} {share:10.1%}"
        print(f"{name:9} {cells}{why}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Measure attacks against a server's rules: results/measured_federated.csv, some ten minutes of one core.

    python scripts/measure_federated.py                    what is missing of 4 attacks x 6 rules x 3 seeds
    python scripts/measure_federated.py --attacks none,fdla --rules mean,median --seeds 1 --into /tmp/mine.csv

Every federation is the one of notebook 07: eight clients of which two lie. All runs of a seed share their first private
training, which no attack and no rule has touched, so it is done once; what follows equals a run of its own to the last
bit (tests/federated/test_rounds.py). A line is written as soon as its run is finished, and a run that has a line is not
repeated: a stopped command goes on where it was.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from normkd_explore.data import Dataset
from normkd_explore.federated import Federation, federated_lesson, federated_preset, prepare, run_rounds
from normkd_explore.federated.attacks import STRONG
from normkd_explore.federated.federation import accuracies
from normkd_explore.federated.recipe import NO_ATTACK, FederatedRecipe
from normkd_explore.results import FOLDER, write_rows
from normkd_explore.results.federated import FEDERATED, FederatedRun, load_federated
from normkd_explore.training import make_fabric
from normkd_explore.training.machine.environment import describe_environment

PRESET = "glyphs/resnet20-resnet8"
ATTACKS = ("none", "random", "fdla", "pcfdla")
RULES = ("mean", "mean-probabilities", "mean-z-scores", "median", "geometric-median", "expguard")
MALICIOUS, STRENGTH = 2, 20.0


def recipe_of(attack: str, rule: str, seed: int) -> FederatedRecipe:
    """The lesson's federation with this attack and rule."""
    recipe = replace(federated_lesson(federated_preset(PRESET, seed=seed)), aggregate=rule)
    if attack == NO_ATTACK:
        return recipe
    return replace(recipe, malicious=MALICIOUS, attack=attack, strength=STRENGTH if attack in STRONG else None)


class Trunk:
    """What all runs of a seed share: the clients after their first private training."""

    def __init__(self, seed: int, dataset: Dataset) -> None:
        self.dataset = dataset
        federation = self.federation(recipe_of(NO_ATTACK, "mean", seed))
        federation.train_locally()
        self.start: dict[str, Any] = copy.deepcopy(federation.state())
        self.alone: list[float] = federation.measure("test")["clients"]

    def federation(self, recipe: FederatedRecipe) -> Federation:
        return Federation(recipe, self.dataset, make_fabric("cpu"))

    def branch(self, recipe: FederatedRecipe) -> Federation:
        """The federation of `recipe` after its last round."""
        federation = self.federation(recipe)
        federation.load_state(copy.deepcopy(self.start))
        run_rounds(federation)
        return federation


def measure(trunk: Trunk, recipe: FederatedRecipe, origin: dict[str, str]) -> FederatedRun:
    """Train one federation to its end."""
    honest = range(recipe.clients - MALICIOUS)
    federation = trunk.branch(recipe)
    last, test = federation.history[-1], federation.measure("test")
    return FederatedRun(
        preset=recipe.preset,
        budget=recipe.budget(),
        student=recipe.student,
        method=recipe.method,
        clients=recipe.clients,
        malicious=recipe.malicious,
        attack=recipe.attack,
        strength=recipe.strength,
        aggregate=recipe.aggregate,
        seed=recipe.seed,
        alone=percent(accuracies(trunk.alone, honest, test["n"])["victims"]),
        victims=percent(accuracies(test["clients"], honest, test["n"])["victims"]),
        answer=percent(last["answer_top1"]),
        ranks=" ".join(map(str, sorted(last["attacker_ranks"]))),
        n_test=test["n"],
        rounds=recipe.rounds,
        **origin,
    )


def percent(fraction: float) -> float:
    """A fraction in percent, to 2 decimals."""
    return round(100 * fraction, 2)


def origin() -> dict[str, str]:
    """What one needs to say where a number is from."""
    here = describe_environment("cpu")
    threads = here["cpu"]["threads"]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return {
        "command": "python scripts/measure_federated.py",
        "hardware": f"{here['cpu']['name']}, {threads} thread" + "s" * (threads > 1),
        "torch": here["packages"]["torch"],
        "commit": commit.stdout.strip() or "not a repository",
    }


def key(run: FederatedRun | FederatedRecipe) -> tuple[str, str, int]:
    return run.attack, run.aggregate, run.seed


def main() -> None:
    options = arguments()
    path: Path = options.into
    known = load_federated(path.parent) if path.exists() else []
    recipes = [
        recipe_of(attack, rule, seed)
        for seed in range(options.seeds)
        for attack in options.attacks.split(",")
        for rule in options.rules.split(",")
    ]
    if wrong := {run.budget for run in known} - {recipes[0].budget()}:
        sys.exit(f"{path} holds federations of another recipe (budget {', '.join(wrong)}): take another --into.")
    missing = [recipe for recipe in recipes if key(recipe) not in set(map(key, known))]
    dataset = prepare(recipes[0])
    trunks: dict[int, Trunk] = {}
    for place, recipe in enumerate(missing, start=1):
        began = time.monotonic()
        if recipe.seed not in trunks:
            trunks = {recipe.seed: Trunk(recipe.seed, dataset)}  # the one before is not needed any more
        known.append(measure(trunks[recipe.seed], recipe, origin()))
        write_rows(path, known)
        run = known[-1]
        took = time.monotonic() - began
        print(
            f"{place}/{len(missing)} {' '.join(map(str, key(run)))}: victims {run.victims} %, {took:.0f} s", flush=True
        )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--attacks", default=",".join(ATTACKS))
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--into", type=Path, default=FOLDER / FEDERATED, help=f"the table; named {FEDERATED}")
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

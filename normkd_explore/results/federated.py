"""measured_federated.csv: attacks against the rules of a server, one finished federation a line.

python scripts/measure_federated.py          measures what is missing
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from normkd_explore.results import FOLDER, read_rows

FEDERATED = "measured_federated.csv"


@dataclass(frozen=True)
class FederatedRun:
    """One federation after its last round; accuracies are top-1 in percent."""

    preset: str
    """DATASET/TEACHER-STUDENT; no teacher takes part."""
    budget: str
    """Digest of what must be equal for a fair comparison: all but seed, attack and rule."""
    student: str
    """Every client's network."""
    method: str
    """What distils the server's answer."""
    clients: int
    malicious: int
    """How many of them, the last ones, lie; 0 in a clean run."""
    attack: str
    """"none" in a clean run."""
    strength: float | None
    aggregate: str
    """The server's rule."""
    seed: int
    """Runs of one seed have the same images, first weights and first training: they are pairs."""
    alone: float
    """Test top-1 of the clients in `victims`' place after their own training, before anybody has shared anything."""
    victims: float
    """Test top-1 of the honest clients after the last round; of the same clients in a clean run."""
    answer: float
    """The server's last answers, on the public images."""
    ranks: str
    """Places of the attackers among the outlier scores of the last round, 1 the most outlying; empty when clean."""
    n_test: int
    """Test images, the same for every client."""
    rounds: int
    command: str
    hardware: str
    torch: str
    commit: str
    """Version of the source that measured it."""


def load_federated(folder: Path = FOLDER) -> list[FederatedRun]:
    """The stored federations, as they were measured."""
    return read_rows(folder / FEDERATED, FederatedRun)


def victims_table(runs: Iterable[FederatedRun]) -> dict[tuple[str, str], list[float]]:
    """(attack, rule) -> test top-1 of the honest clients (%), by rising seed.

    Raises:
        ValueError: runs of several budgets, or one run twice.
    """
    table: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    runs = list(runs)
    if len({run.budget for run in runs}) > 1:
        raise ValueError(f"runs: found {len({run.budget for run in runs})} budgets, wanted one: other federations.")
    for run in runs:
        seeds = table[run.attack, run.aggregate]
        if run.seed in seeds:
            raise ValueError(f"runs: {run.attack} against {run.aggregate} has seed {run.seed} twice.")
        seeds[run.seed] = run.victims
    return {key: [seeds[seed] for seed in sorted(seeds)] for key, seeds in table.items()}

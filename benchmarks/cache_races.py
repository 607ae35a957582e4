"""Two processes that make one folder of a teacher's logits at the same instant, with one teacher and with two.

`python -m benchmarks.cache_races [RACES]` prints how many races ended as they must: with one teacher both share the
table, with two the first has it and the other is refused; and every row that is read is the reader's own teacher's.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normkd_explore.training.teacher import table_folder
from normkd_explore.training.teacher.logit_table import CacheError

ROWS, CLASSES, BLOCK, PAUSE = 96, 5, 8, 0.01
SHARED, REFUSED, WRONG = "one teacher, one table", "two teachers, one refused", "WRONG"


def teacher_of(racer: int, race: int) -> int:
    """In every second race both have one teacher."""
    return race if race % 2 == 0 else 1000 * (racer + 1) + race


def logits_of(teacher: int) -> Tensor:
    """All rows of a teacher's table (R, C)."""
    return torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(teacher))


def use(folder: Path, teacher: int, order: list[int]) -> str:
    """Make or open the table, fill in what it misses, read all of it: "mine", "refused" or "wrong"."""
    wanted_RC, identity = logits_of(teacher), {"teacher's weights": teacher}
    try:
        table_folder.create_folder(folder, ROWS, CLASSES, identity)
        table = table_folder.open_folder(folder, ROWS, CLASSES, identity, torch.device("cpu"))
    except CacheError as error:
        return "refused" if "belongs to another run" in str(error) else f"wrong: {error}"
    for rows_B in torch.tensor(order).split(BLOCK):
        missing_B = rows_B[table.missing(rows_B)]
        table.write(missing_B, wanted_RC[missing_B])
    table.finish()
    return "mine" if torch.equal(table.read(torch.arange(ROWS)), wanted_RC) else "wrong: another's logits were read"


def racer(number: int, place: Path, races: int, start: Barrier, answers: Any) -> None:
    """One process: all races, each begun together with the other process."""
    torch.set_num_threads(1)
    luck, reserve = random.Random(number), table_folder._reserve

    def reserve_slowly(path: Path, size: int) -> None:
        time.sleep(luck.uniform(0, PAUSE))  # as large files take their time
        reserve(path, size)

    table_folder._reserve = reserve_slowly
    for race in range(races):
        order = luck.sample(range(ROWS), ROWS)
        start.wait()
        answer = use(place / f"race{race}", teacher_of(number, race), order)
        start.wait()  # the other's writes are over as well: what is there now is what a later run finds
        later = use(place / f"race{race}", teacher_of(number, race), order)
        answers.put((race, answer if answer == later else f"wrong: {answer}, later {later}"))


def judge(race: int, pair: list[str]) -> str:
    """How a race ended."""
    wanted = ["mine", "mine"] if race % 2 == 0 else ["mine", "refused"]
    if sorted(pair) != wanted:
        return f"{WRONG}: {', '.join(sorted(pair))}"
    return SHARED if race % 2 == 0 else REFUSED


def run_races(races: int, place: Path) -> Counter[str]:
    """Let two processes race and count how the races ended."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2, timeout=60), context.Queue()
    racers = [context.Process(target=racer, args=(n, place, races, start, answers), daemon=True) for n in range(2)]
    for process in racers:
        process.start()
    pairs: dict[int, list[str]] = {race: [] for race in range(races)}
    for _ in range(2 * races):
        race, answer = answers.get(timeout=120)
        pairs[race].append(answer)
    for process in racers:
        process.join()
    return Counter(judge(race, pair) for race, pair in pairs.items())


def main() -> None:
    races = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as place:
        for ending, count in sorted(run_races(races, Path(place)).items()):
            print(f"{count:4d} of {races}  {ending}")


if __name__ == "__main__":
    main()

"""The part of `benchmarks.busy` that needs a browser: JupyterLab with a slider that is dragged and a race that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Page, sync_playwright

from tests.helpers.browser import Lab

if TYPE_CHECKING:
    from benchmarks.busy_training import Environment, Trainings

# The training of notebook 02 for one seed, after which the rate of its students is printed.
TRAIN = """
import json, tempfile
from dataclasses import replace
from pathlib import Path
from normkd_explore.training import Where, compare, get_preset, lesson
METHODS, WATCH = ("ce", "kd", "normkd"), None
{watch}
recipes = [replace(lesson(get_preset("glyphs/resnet20-resnet8", m)), precision="{precision}") for m in METHODS]
folder = Path(tempfile.mkdtemp())
results = compare(recipes, [folder / m for m in METHODS], Where(device="cpu"), watch=WATCH)
print("rate", results[0]["images_per_second"])
"""
RACE = """
from normkd_explore.widgets import RaceView
race = RaceView(("ce", "kd", "normkd"))
race
"""
WATCH_RACE = "race.begin(0); WATCH = race.watch"
EXPLORER = """
import numpy as np
from normkd_explore.widgets import SofteningExplorer
rng = np.random.default_rng(3)
logits, labels = 4 * rng.normal(size=(24, 100)), rng.integers(0, 100, 24)
pictures = rng.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
SofteningExplorer(logits, logits / 2, pictures, labels, [f"class {c}" for c in range(100)])
"""


def race_in_a_terminal(environment: Environment, precision: str) -> float:
    """Images per second of the race's training without a browser, and with a progress bar."""
    code = TRAIN.format(watch="", precision=precision)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return _rate(done.stdout)


def visit(environment: Environment, precision: str, begin: Callable[[], Trainings]) -> dict[str, float]:
    """The columns that are measured beside, or in, a page of JupyterLab."""
    with _pages(environment) as (lab, page):
        found = {"slider": _beside_slider(lab, page, begin())}
        train = TRAIN.format(watch=WATCH_RACE, precision=precision)
        lab.open(page, "race.ipynb", [RACE, train])
        found["race"] = _wait_for_rate(page)
        trainings = begin()
        lab.open(page, "again.ipynb", [RACE, train])
        page.locator(".nk-race-phase").filter(has_text="training").wait_for(timeout=120_000)
        found["beside race"] = trainings.rate()
        found["race beside"] = _wait_for_rate(page)
    return found


@contextmanager
def _pages(environment: Environment) -> Iterator[tuple[Lab, Page]]:
    """A server whose kernels have the environment, and a page of a browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        sys.exit("benchmarks.busy: found no Chromium on PATH; --no-browser measures the rest")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        changes = {**environment, "OMP_NUM_THREADS": str(os.cpu_count())}
        lab = Lab(Path(folder), **changes)
        try:
            lab.wait()
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
            yield lab, browser.new_page(viewport={"width": 1280, "height": 1000})
            browser.close()
        finally:
            lab.stop()


def _beside_slider(lab: Lab, page: Page, trainings: Trainings) -> float:
    lab.open(page, "explorer.ipynb", [EXPLORER])
    slider = page.get_by_role("slider").first
    slider.wait_for(timeout=120_000)
    box = slider.bounding_box()

    def drag(process: subprocess.Popen[str]) -> None:
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 10, y)
        page.mouse.down()
        while process.poll() is None:
            for place in (0.9, 0.1):
                page.mouse.move(box["x"] + place * box["width"], y, steps=30)
        page.mouse.up()

    return trainings.rate(drag)


def _wait_for_rate(page: Page) -> float:
    line = page.locator(".jp-OutputArea-output pre").filter(has_text="rate ")
    line.last.wait_for(timeout=900_000)
    return _rate(line.last.inner_text())


def _rate(printed: str) -> float:
    return float(next(line.split()[1] for line in printed.splitlines() if line.startswith("rate ")))

"""All explorers on one page, in JupyterLab or exported, and what a reader could stumble over there."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.painted import settle

AUDIT = (Path(__file__).with_name("audit.js")).read_text(encoding="utf-8")
SELECTORS = {"hero": ".nk-hero", "softening": ".nk-softening", "grid": ".nk-grid", "race": ".nk-race"}

# Two samples whose stds differ as much as the hardest ones of a real test split, among others.
SETUP = """
import numpy as np
from normkd_explore.widgets import Hero, RaceView, SofteningExplorer
from normkd_explore.widgets.method_grid import MethodGrid
from tests.helpers.race import fake_runs, train_fake
rng = np.random.default_rng(3)
labels = rng.integers(0, 100, 24)
base = rng.normal(size=(24, 100)) + 4 * np.eye(100)[labels]
spread = np.geomspace(10.3, 3.3, 24)[:, None]
logits_t = spread * base / base.std(axis=1, ddof=1, keepdims=True)
logits_s = 0.5 * logits_t + rng.normal(size=(24, 100))
images = rng.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
names = [f"class {c}" for c in range(100)]
view = {"sample": 0, "pinned": 23}
hero = Hero(logits_t[[0, 23]], images[[0, 23]], labels[[0, 23]], names)
explorer = SofteningExplorer(logits_t, logits_s, images, labels, names, view)
second = SofteningExplorer(logits_t, logits_s, images, labels, names, {**view, "scale": "log"}, name="second")
grid = MethodGrid(logits_t[:6, :12], logits_s[:6, :12], labels[:6] % 12, names[:12])
methods = ("ce", "kd", "a method with a long name")
race = RaceView(methods, seeds=2)
for seed in range(2):
    train_fake(race, fake_runs(methods), seed, epochs=6, sizes=(64,) * 20)
race.finish()
"""
CELLS = ("hero", "explorer", "grid", "race", "second")


def audit(page, explorer: str) -> dict:
    """Texts of the first explorer of a kind that overlap, are below 12 px or 4.5:1, or stick out of it."""
    root = page.locator(SELECTORS[explorer]).first
    root.evaluate("node => node.scrollIntoView({ block: 'start' })")  # JupyterLab lays out only what is near the view
    settle(page)
    return root.evaluate(AUDIT)


def resize(page, width: int, height: int = 900) -> None:
    """Make the window another width and wait until the page has followed."""
    if page.viewport_size != {"width": width, "height": height}:
        page.set_viewport_size({"width": width, "height": height})
        settle(page)
        page.wait_for_timeout(150)
        settle(page)


def groups(page) -> list[list[str]]:
    """Of every radio group of the page the values that are checked."""
    return page.locator("[role=radiogroup]").evaluate_all(
        "nodes => nodes.map(n => [...n.querySelectorAll('input:checked')].map(i => i.value))"
    )


RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def steps(drawer) -> dict[str, float]:
    """The numbers of an open drawer: {"z.teacher": 1.234, "kl": 0.5, ...}."""
    texts = drawer.locator("[data-step]").evaluate_all(
        "nodes => Object.fromEntries(nodes.map(n => [n.dataset.step, n.textContent]))"
    )
    return {key: _number(text) for key, text in texts.items()}


def _number(text: str) -> float:
    digits, _, power = text.replace("−", "-").partition("·10")
    return float(digits) * 10.0 ** int(power.translate(RAISED) or 0)


def slide(page, selector: str, values: list[float], read: str) -> list:
    """Set a slider to values one after the other, as a finger would, and give what `read` finds after each.

    Args:
        read: JavaScript of a function of the slider.
    """
    return page.locator(selector).first.evaluate(
        f"""async (slider, values) => {{
            const read = {read}, found = [];
            for (const value of values) {{
                slider.value = value;
                slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
                await new Promise(requestAnimationFrame);
                found.push(read(slider));
            }}
            slider.dispatchEvent(new Event("change", {{ bubbles: true }}));
            return found;
        }}""",
        values,
    )

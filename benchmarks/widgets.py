"""How fast the Softening Explorer answers a slider, in real JupyterLab and headless Chromium.

    python -m benchmarks.widgets                prints the table below for this machine

handler    from the slider's input event to the last change of the page's content
repaint    from the input event to the end of the frame in which the browser has laid out and painted it

plain      the same repaint time of a bare slider that changes nothing, on the same page: what browser, JupyterLab and
           this machine's load cost by themselves

One row a case: number of classes, short or long chart, one sample or two. The mouse is dragged through the whole
range of both sliders, after one drag that is not counted.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from tests.helpers.browser import Lab

MOVES = 150
CASES = [(classes, chart, pinned) for classes in (100, 1000) for chart in ("top", "all") for pinned in (None, 1)]

SETUP = """
import numpy as np
from normkd_explore.widgets import SofteningExplorer
rng = np.random.default_rng(0)
def explorer(C, **state):
    logits_t = rng.normal(0, 4, (64, C))
    return SofteningExplorer(logits_t, logits_t / 2 + rng.normal(size=(64, C)),
        rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8), rng.integers(0, C, 64),
        [f"class {c}" for c in range(C)], state=state)
"""

# A capturing listener on the document runs before the slider's own handler, a bubbling one after it; a message
# posted in the frame's callback arrives when that frame is laid out and painted.
WATCH = """
() => {
  window.times = [];
  let start, entry;
  document.addEventListener("input", () => {
    start = performance.now();
    window.times.push(entry = {});
  }, true);
  document.addEventListener("input", () => {
    const own = entry, from = start;
    own.handler = performance.now() - from;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => { own.repaint = performance.now() - from; };
      channel.port2.postMessage(null);
    });
  });
}
"""

PLAIN = """
() => {
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", style: "display: block; width: 400px" });
  slider.dataset.key = "plain";
  document.querySelector(".nk").prepend(slider);
}
"""


def drag(page, key: str) -> list[dict[str, float]]:
    """Move one slider over its whole range and give the times of every step."""
    slider = page.locator(f"input[type=range][data-key={key}]").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, y)
    page.mouse.down()
    page.evaluate("() => { window.times.length = 0; }")
    page.mouse.move(box["x"] + box["width"] - 8, y, steps=MOVES)
    page.wait_for_timeout(300)
    times = page.evaluate("() => window.times")
    page.mouse.up()
    return times


def measure(lab: Lab, page, classes: int, chart: str, pinned: int | None) -> str:
    """Open one case, drag both sliders, and format its row."""
    show = f"explorer({classes}, classes={chart!r}, pinned={pinned})"
    lab.open(page, f"bench_{classes}_{chart}_{pinned}.ipynb", [SETUP, show])
    page.locator(".nk-card-a [data-value='kd.kl']").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    page.evaluate(WATCH)
    drag(page, "T")  # the first drag also waits for code that the browser has not compiled yet
    times = drag(page, "T") + drag(page, "T_norm")
    page.evaluate(PLAIN)
    plain = drag(page, "plain")
    cells = [f"{classes:5}", chart, "A and B" if pinned is not None else "A", f"{len(times)}"]
    for name, entries in (("handler", times), ("repaint", times), ("repaint", plain)):
        low, high = np.percentile([entry[name] for entry in entries], [50, 95])
        cells += [f"{low:.1f}", f"{high:.1f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        sys.exit("No chromium or google-chrome on PATH: there is nothing to measure in.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            lab.wait()
            load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            print(f"Chromium {browser.version}, headless, load {load}; milliseconds, medians")
            print("| classes | chart | samples | steps | handler | p95 | repaint | p95 | plain | p95 |")
            print("|---:|---|---|---:|---:|---:|---:|---:|---:|---:|")
            for case in CASES:
                page = browser.new_page(viewport={"width": 1280, "height": 1000})
                print(measure(lab, page, *case), flush=True)
                page.close()
        finally:
            browser.close()
            lab.stop()


if __name__ == "__main__":
    main()

"""Waiting for the browser to paint; apart from `tests.helpers.browser`, which pytest must be the first to import."""

TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


def settle(page) -> None:
    """Return when what was asked of the page so far is painted: two frames, since a gate may hold input for one."""
    page.evaluate(TWO_FRAMES)

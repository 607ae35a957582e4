"""How many samples a widget can carry: everything it shows travels to the browser, and into a stored notebook."""

import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

STATE_BYTES = 16_000_000
"""What a widget may carry: 2,000 samples of 1,000 classes, 17,000 of 100."""


def carried_rows(
    samples: int, bytes_each: int, keep: Iterable[int | None], limit: int = STATE_BYTES
) -> NDArray[np.int64]:
    """Positions of the samples that fit, evenly over all and with those of `keep`; all of them where they fit.

    A UserWarning says how many are left out, and what to do.
    """
    fitting = max(2, limit // bytes_each)
    if samples <= fitting:
        return np.arange(samples)
    rows = np.linspace(0, samples - 1, fitting).astype(np.int64)
    kept = {n for n in keep if n is not None and 0 <= n < samples}
    for wanted in kept - set(rows.tolist()):
        free = np.flatnonzero(~np.isin(rows, list(kept)))
        rows[free[np.abs(rows[free] - wanted).argmin()]] = wanted
    warnings.warn(
        f"{samples:,} samples would make {samples * bytes_each / 1e6:,.0f} MB of widget state, more than browsers and "
        f"stored notebooks bear: showing {len(rows):,}, evenly spaced (their positions are `rows_N`). Pass the rows "
        "that matter to choose others.",
        UserWarning,
        stacklevel=3,
    )
    return np.sort(rows)

"""Files with a network's weights and their moving average (EMA): which of the two is taken, never without a word."""

import warnings
from pathlib import Path

from torch import Tensor

from .errors import CheckpointError

AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "model_state_dict_ema", "net_ema", "ema")
"""Under what averages are saved, beside the weights themselves."""
PREFIXES = ("model_ema.", "ema_model.", "ema.")
"""What the names of an average begin with where it is saved among the weights."""


class Average:
    """The choice between the two, for one file.

    Args:
        wanted: True for the average, False for the weights; None for the weights where there are both, and otherwise
            for what there is, with a warning that says so.
        path: the file.
    """

    def __init__(self, wanted: bool | None, path: Path) -> None:
        self.wanted, self.path, self.taken = wanted, path, False

    def choose(self, raw: str | None, average: str | None) -> str | None:
        """Which of two names to follow; a name is None where there is nothing under it."""
        if average is None or (raw and self.wanted is False):
            return raw
        self.taken = bool(self.wanted) or raw is None
        if self.wanted is not True:
            self._tell(raw, average)
        return average if self.taken else raw

    def _tell(self, raw: str | None, average: str) -> None:
        if raw is not None:
            text = (
                f"{self.path} holds weights ({raw!r}) and their moving average ({average!r}): the weights are taken. "
                "Choose with ema=True or ema=False (a teacher's: --teacher-ema, --no-teacher-ema)."
            )
        elif self.wanted is None:
            text = f"{self.path} holds no weights but their moving average ({average!r}), which is taken."
        else:
            raise CheckpointError(f"{self.path} holds no weights but their moving average ({average!r}): ema=True.")
        warnings.warn(text, stacklevel=6)

    def among(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of one of the two where both are side by side."""
        average = next((start for start in PREFIXES if any(key.startswith(start) for key in tensors)), None)
        if average is None:
            return tensors
        others = {key: value for key, value in tensors.items() if not key.startswith(average)}
        if self.choose("the other tensors" if others else None, average) != average:
            return others
        return {key.removeprefix(average): value for key, value in tensors.items() if key.startswith(average)}

    def settle(self) -> None:
        """CheckpointError where an average was wanted and there was none."""
        if self.wanted and not self.taken:
            raise CheckpointError(f"{self.path} holds no moving average ({', '.join(AVERAGES)}); wanted one, ema=True.")

"""Weights from a file into a network, with one clear error if they do not fit, and from network to file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from normkd_explore.files.tensors import write_tensors
from normkd_explore.files.writing import explained

from .containers import Part, read_state_dict
from .errors import CheckpointError, ClassCountError
from .identify import closest_model, counters_only, guess_model
from .origin import read_origin, remember_origin
from .respelling import fitted, respelled
from .wrapped import bare
from .zoo import create_model

LISTED = 5
DEFAULT_CLASSES = 100


def load_checkpoint(
    model_or_name: nn.Module | str,
    path: str | Path,
    *,
    num_classes: int | None = None,
    part: Part = "student",
    ema: bool | None = None,
) -> nn.Module:
    """Loads weights from a file into a network, on the device where it is; never runs code from the file.

    Takes safetensors, torch.save files of state dicts, and the files of RepDistiller, mdistiller, Lightning and timm.
    Other spellings of a CIFAR ResNet's names are understood (see `respelling`) and missing batch counters of batch norm
    (very old files) are tolerated; any other difference is an error, and then the network is left as it was. What the
    file says of classes, normalisation and data is kept with the network (see `origin`) and compared by whoever has the
    data.

    Args:
        model_or_name: a network, which is filled and returned, or a name for create_model.
        path: the file.
        num_classes: C of a network given by name; read from the file if None.
        part: which network to take from the file of a whole distiller ("best", "latest" of mdistiller).
        ema: whether to take the moving average of the weights where a file has one, see `read_state_dict`.

    Returns:
        The network; one created from a name is in training mode, as create_model leaves it.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        CheckpointError: damaged file, file that would run code, NaN or infinity in it, or tensors that do not
            fit (a ClassCountError where only the number of classes differs).
        ValueError: unknown name; num_classes beside a network.
    """
    if not isinstance(model_or_name, str) and num_classes is not None:
        raise ValueError("num_classes goes with a model name; a network that exists already has its classes")
    state = read_state_dict(path, part, ema)
    _check_finite(state, path)
    if isinstance(model_or_name, str):
        model, label = _created(model_or_name, state, num_classes)
    else:
        model, label = model_or_name, type(bare(model_or_name)).__name__
    _fill(bare(model), fitted(state, bare(model).state_dict(), path), label, path)
    remember_origin(model, read_origin(path))
    return model


def save_weights(model: nn.Module, path: str | Path, metadata: dict[str, str] | None = None) -> str:
    """Writes a network's state dict as safetensors, under the plain names that load_checkpoint knows; its checksum.

    The file appears under its name only when complete and on the disk, an interruption leaves the file of that
    name as it was, and equal weights and metadata give equal files. It carries a checksum, which load_checkpoint
    compares.

    Args:
        model: network, also wrapped by torch.compile, DistributedDataParallel or Fabric.
        path: where to; missing folders are made.
        metadata: names and texts for the file's header.

    Raises:
        TypeError: metadata that is not text.
        WriteError: the file cannot be written; an OSError that says why.
    """
    wrong = [key for key, value in (metadata or {}).items() if not (isinstance(key, str) and isinstance(value, str))]
    if wrong:
        raise TypeError(f"metadata must map text to text; convert the values of {wrong} with str()")
    # Copies, because safetensors refuses tensors that share memory.
    tensors = {
        key.replace("_orig_mod.", ""): value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in bare(model).state_dict().items()
    }
    path = Path(path)
    with explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_tensors(path, tensors, metadata)


def _created(name: str, state: Mapping[str, Tensor], num_classes: int | None) -> tuple[nn.Module, str]:
    # Loading a teacher must not change the random numbers that its student starts from.
    with torch.random.fork_rng(devices=[]):
        model = create_model(name, DEFAULT_CLASSES if num_classes is None else num_classes)
        if num_classes is None:
            in_file = _classes_in_file(state, model.state_dict())
            model = model if in_file == DEFAULT_CLASSES else create_model(name, in_file)
    return model, name


def _classes_in_file(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    """Rows that the file has where a network of DEFAULT_CLASSES classes has that many; the default if unclear."""
    names = respelled(state, own)
    state = {names[key]: value for key, value in state.items()}
    heads = [key for key in own if key in state and own[key].ndim and len(own[key]) == DEFAULT_CLASSES]
    rows = {len(state[key]) for key in heads if state[key].ndim and state[key].shape[1:] == own[key].shape[1:]}
    return rows.pop() if len(rows) == 1 and min(rows) > 1 else DEFAULT_CLASSES


def _other_classes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int | None:
    """Number of classes of a file that differs from the network in the rows of its classifier, and only there."""
    misshapen = [key for key in own if key in state and own[key].shape != state[key].shape]
    rows = {len(state[key]) for key in misshapen if state[key].ndim}
    same_but_rows = all(state[key].shape[1:] == own[key].shape[1:] for key in misshapen)
    return rows.pop() if len(misshapen) <= 2 and len(rows) == 1 and same_but_rows else None


def _check_finite(state: Mapping[str, Tensor], path: str | Path) -> None:
    broken = [key for key, value in state.items() if not value.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path} holds NaN or infinity in {_some(broken)}: weights of a run that diverged, or a damaged "
            "file. Take an earlier checkpoint of that run."
        )


def _fill(model: nn.Module, state: dict[str, Tensor], label: str, path: str | Path) -> None:
    own = model.state_dict()
    missing = [key for key in own if key not in state and not counters_only({key})]
    unexpected = [key for key in state if key not in own]
    misshapen = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or unexpected or misshapen:
        groups = {
            "of another shape": [_shapes(key, state, own) for key in misshapen],
            "missing from the file": missing,
            "unknown to the network": unexpected,
        }
        listed = "\n  ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in groups.items() if keys)
        hint = _hint(state, own, bool(missing or unexpected))
        text = f"the tensors of {path} do not fit {label}:\n  {listed}\n{hint}"
        classes = None if missing or unexpected else _other_classes(state, own)
        raise CheckpointError(text) if classes is None else ClassCountError(text, classes)
    model.load_state_dict({**own, **state})


def _some(items: list[str]) -> str:
    more = len(items) - LISTED
    return ", ".join(items[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _shapes(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{key} {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the network"


def _hint(state: Mapping[str, Tensor], own: Mapping[str, Tensor], other_names: bool) -> str:
    classes = _other_classes(state, own)
    if classes is not None and not other_names:
        return f"The file looks like a {classes}-class classifier: create the network with num_classes={classes}."
    if guess := guess_model(state):
        return f"These tensors are those of {guess[0]!r} with num_classes={guess[1]}."
    if close := closest_model(state):
        return f"The closest network of the zoo is {close!r}."
    return "No network of list_models() has such tensors: the file belongs to another architecture."

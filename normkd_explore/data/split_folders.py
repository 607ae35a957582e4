"""Which folders of a data root are its splits, under the names that people give them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from normkd_explore.data.images.files import find_images, is_folder, some_of

NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
"""The words that name each split, whatever their case, alone or with one of `TAILS`."""
TAILS = ("set", "data", "split", "images", "imgs")
WORDS = {word for words in NAMES.values() for word in words} | {"eval", "evaluation", "holdout", "heldout"}


def find_split_folders(root: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Give the folder of each split that `root` holds, and what lies beside them and is left out.

    No split means that `root` holds the classes themselves. A folder called ``train`` that has images and no folders
    is a class of that name, unless other folders look like splits too.

    Raises:
        ValueError: two folders for one split, splits without the training images, or folders that look like splits
            under names that are not understood.
    """
    with os.scandir(root) as entries:
        folders = sorted(entry.name for entry in entries if not entry.name.startswith(".") and is_folder(entry))
    roles = {name: role for name in folders if (role := role_of(name))}
    training = [name for name, role in roles.items() if role == "train" and _has_folders(root / name)]
    odd = [name for name in folders if name not in roles and looks_like_a_split(name)]
    if not training:
        _refuse_splits(root, folders, [*roles, *odd])
        return {}, ()
    _refuse_unclear(root, roles, [name for name in odd if _has_folders(root / name)])
    beside = [name for name in folders if name not in roles]
    return {role: root / name for name, role in roles.items()}, _left_out(root, beside)


def role_of(name: str) -> str | None:
    """The split that a folder's name says it is: "Training_Set" is "train"; None for any other name."""
    word = re.sub(r"[\W_]+", "", name.casefold())
    spelled = {word, *(word.removesuffix(tail) for tail in TAILS)}
    return next((role for role, words in NAMES.items() if spelled.intersection(words)), None)


def looks_like_a_split(name: str) -> bool:
    """Whether a split's name is a word of this one, as in seg_train or train2017."""
    return bool(WORDS.intersection(re.split(r"[\W_\d]+", name.casefold())))


def _refuse_splits(root: Path, folders: list[str], splits: list[str]) -> None:
    """Raise unless the folders may be classes: at most one has a split's name, and it holds images, not folders."""
    if len(splits) > 1 or any(_has_folders(root / name) for name in splits):
        raise ValueError(
            f"{root} has folders that look like splits, not classes: {some_of(splits)}; but none is called train and "
            f"holds folders of classes. {_remedy()} If they are classes, give them other names"
        )


def _refuse_unclear(root: Path, roles: dict[str, str], odd: list[str]) -> None:
    for role in NAMES:
        if len(same := [name for name, own in roles.items() if own == role]) > 1:
            raise ValueError(
                f"{root} has several folders for the {role} split: {', '.join(same)}; keep one of these names in it, "
                "and move the others elsewhere"
            )
    if odd:
        raise ValueError(
            f"{root} has folders beside {', '.join(roles)} that look like splits: {some_of(odd)}. {_remedy()} Or move "
            "them elsewhere"
        )


def _remedy() -> str:
    return "Call the folders of the training, validation and test images train, val and test."


def _left_out(root: Path, beside: list[str]) -> tuple[str, ...]:
    own = [name for name in beside if find_images(root, name).own]
    others = [name for name in beside if name not in own]
    texts = [f"folders of this package's own training runs: {some_of(own)}"] if own else []
    return (*texts, *([f"folders that are no split: {some_of(others)}"] if others else []))


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_folder(entry) for entry in entries if not entry.name.startswith("."))

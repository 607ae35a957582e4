"""torchvision's ImageNet weights, from its servers or from torch's cache folder."""

from pathlib import Path

import torch
from torch import nn

from .errors import CheckpointError
from .zoo import create_model

WITH_WEIGHTS = ("resnet18", "resnet34", "resnet50")


def pretrained_imagenet(name: str) -> nn.Module:
    """A ResNet with torchvision's ImageNet weights ("IMAGENET1K_V1"), the teachers of the distillation papers.

    Downloads once into torch's cache folder and checks the hash that is part of the file name.

    Args:
        name: "resnet18", "resnet34" or "resnet50".

    Raises:
        ValueError: torchvision has no weights for a network of this name.
        ConnectionError: the file is neither in the cache nor to be downloaded.
        CheckpointError: the file is damaged.
    """
    if name not in WITH_WEIGHTS:
        raise ValueError(
            f"pretrained_imagenet: no ImageNet weights known for {name!r}; there are weights for "
            f"{', '.join(WITH_WEIGHTS)}. For any other network pass your own file: --teacher-weights FILE on the "
            "command line, or load_checkpoint(name, file) in Python."
        )
    # Imported here because torchvision takes seconds to import.
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).IMAGENET1K_V1
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except OSError as error:
        raise ConnectionError(_no_download(name, weights.url, cached, error)) from error
    except Exception as error:
        raise CheckpointError(
            f"the ImageNet weights of {name} came damaged from {weights.url} or lie damaged in {cached} ({error}). "
            "Delete that file and try again."
        ) from error
    with torch.random.fork_rng(devices=[]):
        model = create_model(name, num_classes=1000)
    model.load_state_dict(state)
    return model


def _no_download(name: str, url: str, cached: Path, error: Exception) -> str:
    return (
        f"could not download the ImageNet weights of {name} from {url} ({error}). Without a network, fetch that "
        f"file elsewhere and either pass it with --teacher-weights FILE (in Python: load_checkpoint({name!r}, "
        f"FILE)) or copy it to {cached}, where it is looked for first."
    )

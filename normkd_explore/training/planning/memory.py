"""What a training step keeps in memory, known before anything is allocated.

Letters: B images of a batch (of one process), N images, V views of an image, C classes, S image size in pixels,
P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.data.dataset import FileSplit
from normkd_explore.data.images.gpu_jpeg import DECODED_BYTES, choose_decoder
from normkd_explore.data.read import size_of
from normkd_explore.models import create_model
from normkd_explore.training.recipes.recipe import Recipe

LOOKED_AT = 200  # photographs whose size is asked for
FLOAT = 4  # bytes of a float32: weights, gradients and momentum stay float32 under mixed precision


@dataclass(frozen=True)
class Memory:
    """Bytes that one process wants on its device, by what they hold."""

    weights: int
    """Parameters and buffers of student and teacher."""
    gradients: int
    """4 P of the student."""
    momentum: int
    """4 P of the student: SGD's one buffer."""
    activations: int
    """What the student's forward pass keeps for the backward pass; grows with the batch."""
    working: int
    """Twice the largest kept tensor: the gradient that enters a layer and the one that leaves it."""
    images: int
    """Two batches of float32 images: the one in use and the next."""
    dataset: int = 0
    """Images that live on the device."""
    decoding: int = 0
    """Whole photographs, where the GPU decodes them."""

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return sum(getattr(self, item.name) for item in fields(self))

    @property
    def per_batch(self) -> int:
        """The parts that grow with the batch."""
        return self.activations + self.working + self.images


def estimate_memory(
    recipe: Recipe,
    num_classes: int,
    image_size: int,
    *,
    batch_size: int | None = None,
    dataset: int = 0,
    decoding: int = 0,
) -> Memory:
    """Count the memory of a recipe's training step by running its student on tensors that have shapes and no data.

    It takes no memory and a fraction of a second, on any machine. A real step wants more: the allocator's rounding,
    cuDNN's workspace and the CUDA context are not counted (expect some 1 to 2 GiB on a GPU).

    Args:
        recipe: gives models, precision and batch.
        num_classes, image_size: C and S.
        batch_size: B, images of one process; None takes the recipe's whole batch.
        dataset: bytes of images that live on the device, see `resident_bytes`.
        decoding: bytes of whole photographs on the device, see `decoding_bytes`.
    """
    batch = batch_size or recipe.batch_size
    half = recipe.precision.startswith(("bf16", "16"))
    with torch.device("meta"):
        teacher = create_model(recipe.teacher, num_classes=num_classes) if recipe.teacher else nn.Identity()
        student = create_model(recipe.student, num_classes=num_classes)
    parameters = FLOAT * sum(p.numel() for p in student.parameters())
    kept = kept_for_backward(recipe.student, num_classes, image_size, batch, half)
    return Memory(
        weights=_state_bytes(student) + _state_bytes(teacher),
        gradients=parameters,
        momentum=parameters,
        activations=sum(kept),
        working=2 * max(kept),
        images=2 * FLOAT * batch * 3 * image_size**2,
        dataset=dataset,
        decoding=decoding,
    )


def kept_for_backward(model: str, num_classes: int, image_size: int, batch: int, half: bool = False) -> list[int]:
    """Bytes of every tensor that a forward pass in training mode keeps, weights not counted, each memory block once."""
    # Shapes alone run through the real operators, autocast's casts included: no formula per kind of layer.
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        network = create_model(model, num_classes=num_classes).train()
        images_BCHW = torch.empty(batch, 3, image_size, image_size).to(memory_format=torch.channels_last)
        own = {tensor.untyped_storage()._cdata for tensor in [*network.parameters(), *network.buffers()]}
        found: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            block = tensor.untyped_storage()
            if block._cdata not in own:
                found[block._cdata] = block.nbytes()
            return tensor  # held by the graph until the end, so no block's number is used twice

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits_BC = network(images_BCHW)
        found[logits_BC.untyped_storage()._cdata] = logits_BC.untyped_storage().nbytes()
        return list(found.values())


def fitting_batch(wanted: Memory, batch_size: int, available: int) -> int:
    """The largest power of two at most `batch_size` whose step fits into `available` bytes; 0 when none does."""
    fixed, per_image = wanted.total - wanted.per_batch, wanted.per_batch / batch_size
    images = int(min(batch_size, (available - fixed) / per_image))
    return 1 << (images.bit_length() - 1) if images >= 1 else 0


def resident_bytes(dataset: Dataset) -> int:
    """Bytes of images that live on the device: uint8, training images with their border of zeros; 0 when streamed."""
    splits = [(dataset.train, dataset.views.pad), (dataset.val, 0), (dataset.test, 0)]
    return sum(
        len(split) * 3 * (split.image_size + 2 * pad) ** 2 for split, pad in splits if isinstance(split, ArraySplit)
    )


def decoding_bytes(dataset: Dataset, batch_size: int, device: torch.device) -> int:
    """Bytes of the whole photographs that a GPU holds while it decodes a batch; 0 where it decodes none.

    The mean size of some 200 training images stands for all.
    """
    split = dataset.train
    if not isinstance(split, FileSplit) or not choose_decoder(split.names_N, device).on_gpu:
        return 0
    places = range(0, len(split), max(1, len(split) // LOOKED_AT))
    sizes = [size_of(split.path(place)) for place in places]
    mean = sum(width * height for width, height in sizes) / len(sizes)
    return min(DECODED_BYTES, round(batch_size * 3 * mean))


def cache_bytes(num_views: int, num_images: int, num_classes: int) -> int:
    """Size of all teacher logits in float32: V N C 4. 0 when views cannot be counted: there is nothing to keep."""
    return num_views * num_images * num_classes * FLOAT


def gib(count: float) -> str:
    """Bytes as GiB or MiB, e.g. "10.6 GiB"."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _state_bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())

"""Networks by name, their features, and their weights from and to files.

model = create_model("resnet8x4", num_classes=100)
logits_BC, features = model(images_BCHW, return_features=True)
teacher = load_checkpoint("resnet32x4", "ckpt_epoch_240.pth")
"""

from .checkpoint import load_checkpoint, save_weights
from .containers import read_state_dict
from .errors import CheckpointError
from .features import Features
from .identify import guess_model
from .own import adapt
from .pretrained import pretrained_imagenet
from .zoo import ModelFacts, create_model, describe_model, list_models, register_model

__all__ = [
    "create_model",
    "list_models",
    "register_model",
    "adapt",
    "describe_model",
    "ModelFacts",
    "Features",
    "load_checkpoint",
    "save_weights",
    "pretrained_imagenet",
    "read_state_dict",
    "guess_model",
    "CheckpointError",
]

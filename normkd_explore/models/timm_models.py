"""Networks of the timm library under the names "timm:NAME", with features where timm offers them.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

import difflib

from torch import Tensor, nn

from .features import Features, Output

PREFIX = "timm:"


def create_timm_model(name: str, num_classes: int) -> nn.Module:
    """An untrained timm network whose forward takes return_features; its state-dict keys stay timm's.

    Args:
        name: timm's name, without the prefix.
        num_classes: C.

    Raises:
        ModuleNotFoundError: timm is not installed.
        ValueError: timm knows no such network.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the model '{PREFIX}{name}' needs the timm library, which is not installed: pip install timm"
        ) from error
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5)
        similar = f" Similar names: {', '.join(PREFIX + other for other in close)}." if close else ""
        raise ValueError(
            f"timm knows no model {name!r}.{similar} List its names: import timm; timm.list_models('*resnet*')"
        )
    return _with_features(timm.create_model(name, pretrained=False, num_classes=num_classes))


def _with_features(model: nn.Module) -> nn.Module:
    """Gives a network the forward of this package by subclassing: a wrapper would rename every tensor."""

    class TimmModel(type(model)):  # type: ignore[misc]  # a class that is known when it is asked for
        def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
            if not return_features:
                return super().forward(images_BCHW)
            if not hasattr(self, "forward_intermediates"):
                raise ValueError(
                    f"timm's {self.default_cfg.get('architecture', 'model')} offers no intermediate features "
                    "(forward_intermediates): use a method that needs logits only, or another network."
                )
            last_BKHW, stages = self.forward_intermediates(images_BCHW)
            pooled_BD = self.forward_head(last_BKHW, pre_logits=True).flatten(1)
            last_map = _channels_first(last_BKHW, pooled_BD.shape[1])
            return self.forward_head(last_BKHW), Features(tuple(stages), None, pooled_BD, last_map)

    model.__class__ = TimmModel
    return model


def _channels_first(last: Tensor, width: int) -> Tensor | None:
    """The map (B, D, H, W) before the pooling; some networks keep it as (B, H, W, D), and some have none."""
    if last.ndim != 4 or width not in (last.shape[1], last.shape[3]):
        return None
    return last if last.shape[1] == width else last.permute(0, 3, 1, 2)

"""A user's own networks: registered under a name, or handed over ready, whatever their forward returns.

    register_model("mynet", lambda num_classes: MyNet(num_classes))
    train(get_preset("folder/mynet-resnet8", "normkd"), ...)

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx, nn

from .features import Features, Output

Builder = Callable[[int], nn.Module]
OWN: dict[str, Callable[..., nn.Module]] = {}
"""Builders of registered networks, called with num_classes=C."""


def register_own(name: str, builder: Builder, stages: Sequence[str] = (), pooled: str | None = None) -> None:
    """Keep a builder under a name that was checked (see `register_model`)."""
    if not callable(builder) or isinstance(builder, nn.Module):
        raise TypeError(
            f"builder of {name!r}: found {type(builder).__name__}, wanted a function that is given the number of "
            "classes and returns a fresh network, e.g. lambda num_classes: MyNet(num_classes)."
        )

    def build(num_classes: int) -> nn.Module:
        model = builder(num_classes)
        if not isinstance(model, nn.Module):
            raise TypeError(f"the builder of {name!r} returned {type(model).__name__}, wanted a torch.nn.Module.")
        return adapt(model, stages, pooled)

    OWN[name] = build


def adapt(model: nn.Module, stages: Sequence[str] = (), pooled: str | None = None) -> nn.Module:
    """Give a network the forward of this package: f(images) -> logits (B, C), and features where layers are named.

    The network itself is changed, by a subclass of its own class: a wrapper would rename every tensor. One that takes
    `return_features` already is left as it is.

    Args:
        model: its forward takes images (B, 3, H, W) and returns logits, or a tuple or list whose first tensor of two
            dimensions they are, a mapping with "logits", or an object with .logits.
        stages: names of layers (as in `model.named_modules()`) whose outputs (B, K, H, W) are the stages, in order.
        pooled: name of the layer whose output, flattened, the classifier sees; None averages the last stage over all
            places.

    Raises:
        ValueError: there is no layer of that name.
    """
    if getattr(model, "speaks_normkd", False) or "return_features" in _argument_names(model):
        return model
    layers = dict(model.named_modules())
    for name in [*stages, *([pooled] if pooled else [])]:
        if name not in layers:
            some = ", ".join([known for known in layers if known][:12])
            raise ValueError(f"layer {name!r}: {type(model).__name__} has none of that name; it has {some}, ...")

    class Adapted(type(model)):  # type: ignore[misc]  # the class of a network of the user
        speaks_normkd = True

        def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
            if not return_features:
                return logits_of(super().forward(images_BCHW))
            if not stages:
                raise ValueError(
                    f"{type(model).__bases__[0].__name__} hands out no features: name its layers, as in "
                    'register_model("mynet", builder, stages=("layer1", "layer2")), or take a method that needs '
                    "logits alone."
                )
            seen: dict[str, Tensor] = {}
            named = dict(self.named_modules())
            handles = [
                named[name].register_forward_hook(lambda layer, given, out, name=name: seen.__setitem__(name, out))
                for name in {*stages, *([pooled] if pooled else [])}
            ]
            try:
                logits_BC = logits_of(super().forward(images_BCHW))
            finally:
                for handle in handles:
                    handle.remove()
            return logits_BC, _features([seen[name] for name in stages], seen[pooled] if pooled else None)

    Adapted.__name__ = Adapted.__qualname__ = type(model).__name__
    model.__class__ = Adapted
    return model


def logits_of(output: Any) -> Any:
    """The logits (B, C) in what a network returned; a TypeError says what was found where there are none."""
    if isinstance(output, Tensor | fx.Proxy):
        return output
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    if isinstance(output, tuple | list):
        found = [part for part in output if isinstance(part, fx.Proxy) or getattr(part, "ndim", 0) == 2]
        if found:
            return found[0]
    if isinstance(getattr(output, "logits", None), Tensor | fx.Proxy):
        return output.logits
    inside = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
    raise TypeError(
        f"the network returned {type(output).__name__}{inside}, wanted logits (B, C), a tuple that holds them, a "
        'mapping with "logits" or an object with .logits. Give it a forward of its own that returns the logits.'
    )


def _features(stages: list[Tensor], pooled: Tensor | None) -> Features:
    last = stages[-1]
    pooled_BD = last.mean(dim=(2, 3)) if pooled is None else pooled.flatten(1)
    return Features(tuple(stages), None, pooled_BD, last if last.shape[1] == pooled_BD.shape[1] else None)


def _argument_names(model: nn.Module) -> tuple[str, ...]:
    code = getattr(model.forward, "__code__", None)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()

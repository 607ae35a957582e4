"""What a network makes of its images before and in the logits: features, their map, and correlations of classes.

Legend: N samples, D features, C classes, M coordinates (2); `_s` student, `_t` teacher.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from normkd_explore.analysis.logits import BATCH, as_seen, in_order
from normkd_explore.data import Dataset


@torch.no_grad()
def model_outputs(model: nn.Module, dataset: Dataset, images_NHWC: Tensor) -> tuple[NDArray, NDArray]:
    """Logits (N, C) and the features (N, D) that the classifier sees, of one pass in float64 as in `model_logits`.

    Raises:
        TypeError: the model does not take `return_features`, as every model of this package's zoo does.
    """
    exact = copy.deepcopy(model).double().eval()
    logits, pooled = [], []
    for batch in as_seen(dataset, model, images_NHWC).split(BATCH):
        try:
            logits_BC, features = exact(batch.double(), return_features=True)
        except TypeError as error:
            raise TypeError(
                f"model: {type(model).__name__} does not hand out features; wanted one of `normkd_explore.models`, "
                "called with return_features=True."
            ) from error
        logits.append(in_order(logits_BC, model, dataset))
        pooled.append(features.pooled)
    return torch.cat(logits).numpy(), torch.cat(pooled).numpy()


def tsne(features: ArrayLike, seed: int = 0, perplexity: float = 20.0) -> NDArray[np.float64]:
    """A map (N, 2) in which near neighbours of (N, D) stay near: scikit-learn's t-SNE, started from a PCA.

    Distances between far groups, and the groups' sizes, mean nothing; another seed, perplexity or machine draws another
    map. So look, and measure with `neighbour_agreement` (van der Maaten and Hinton 2008).

    Raises:
        ModuleNotFoundError: scikit-learn is missing.
        ValueError: there are no more samples than `perplexity`.
    """
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("t-SNE needs scikit-learn: pip install -e '.[lab]'") from error
    features_ND = np.asarray(features, dtype=np.float64)
    if len(features_ND) <= perplexity:
        raise ValueError(f"features: found {len(features_ND)} samples, wanted more than the perplexity, {perplexity}.")
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(features_ND).astype(np.float64)


def neighbour_agreement(features: ArrayLike, labels: ArrayLike, k: int = 10) -> float:
    """Mean share of each sample's k nearest neighbours (Euclidean, itself left out) that have its class.

    Raises:
        ValueError: k is not between 1 and N - 1.
    """
    x_ND, labels_N = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if not 1 <= k < len(x_ND):
        raise ValueError(f"k: found {k}, wanted 1 to {len(x_ND) - 1} neighbours of {len(x_ND)} samples.")
    square_N = (x_ND**2).sum(axis=1)
    distance_NN = square_N[:, None] + square_N[None] - 2 * x_ND @ x_ND.T
    np.fill_diagonal(distance_NN, np.inf)
    nearest_Nk = np.argsort(distance_NN, axis=1, kind="stable")[:, :k]
    return float((labels_N[nearest_Nk] == labels_N[:, None]).mean())


def logit_correlation(logits: ArrayLike | Tensor) -> NDArray[np.float64]:
    """Pearson correlations (C, C) of the classes' logits over N samples: which classes rise and fall together.

    Shifting or scaling a class's logits changes nothing.

    Raises:
        ValueError: fewer than two samples, or a class whose logit never changes.
    """
    z_NC = np.asarray(logits, dtype=np.float64)
    if z_NC.ndim != 2 or len(z_NC) < 2:
        raise ValueError(f"logits: found the shape {z_NC.shape}, wanted (N, C) with at least two samples.")
    centred_NC = z_NC - z_NC.mean(axis=0)
    norm_C = np.sqrt((centred_NC**2).sum(axis=0))
    if not norm_C.all():
        raise ValueError(
            f"logits: class {int(norm_C.argmin())} is the same in all samples, so it correlates with none."
        )
    unit_NC = centred_NC / norm_C
    return unit_NC.T @ unit_NC


def correlation_difference(logits_s: ArrayLike | Tensor, logits_t: ArrayLike | Tensor) -> NDArray[np.float64]:
    """|corr(student) - corr(teacher)|, (C, C): 0 where the student relates two classes as its teacher does.

    A picture that CRD (Tian et al. 2020) made customary in the field.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(logits_s) != np.shape(logits_t):
        raise ValueError(
            f"logits: found {np.shape(logits_s)} (student) and {np.shape(logits_t)} (teacher), wanted equal shapes: "
            "the same samples and classes."
        )
    return np.abs(logit_correlation(logits_s) - logit_correlation(logits_t))

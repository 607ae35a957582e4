"""CRD: student and teacher shall agree on an image more than on any two images of different classes.

Shapes: B batch, D pooled features, E embedding, N training images, M negatives a sample; `_s` student, `_t` teacher.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normkd_explore.checks import check_non_negative, check_positive
from normkd_explore.feature_losses.base import as_parameters_of, check_vectors, of_all_processes, unit
from normkd_explore.precision import ignores_autocast

EPSILON = 1e-7


class Strangers(nn.Module):
    """Draws training images of other classes than a given one, uniformly and with replacement.

    Raises:
        ValueError: all labels are of one class.
    """

    labels_N: Tensor
    sorted_N: Tensor
    counts_C: Tensor
    starts_C: Tensor

    def __init__(self, labels_N: Tensor) -> None:
        super().__init__()
        counts_C = torch.bincount(labels_N)
        if counts_C.max() == len(labels_N):
            raise ValueError(
                "labels: found one class alone, wanted two at least: CRD's negatives are of other classes."
            )
        # Sorted by class, a class is one block, and its strangers are all that lies before and behind.
        self.register_buffer("labels_N", labels_N.clone(), persistent=False)
        self.register_buffer("sorted_N", labels_N.argsort(stable=True), persistent=False)
        self.register_buffer("counts_C", counts_C, persistent=False)
        self.register_buffer("starts_C", counts_C.cumsum(0) - counts_C, persistent=False)

    def forward(self, index_B: Tensor, number: int) -> Tensor:
        """Positions (B, number) of images that are of another class than the images at `index_B`."""
        labels_B1 = self.labels_N[index_B][:, None]
        others_B1 = len(self.labels_N) - self.counts_C[labels_B1]
        draws_BM = torch.randint(2**62, (len(index_B), number), device=index_B.device) % others_B1
        behind_BM = draws_BM >= self.starts_C[labels_B1]
        return self.sorted_N[draws_BM + behind_BM * self.counts_C[labels_B1]]


class CRD(nn.Module):
    """Tell the pair (student, teacher) of one image from pairs of different images, both ways round.

        u = e(f) / |e(f)|, (B, E), for student and teacher with linear embeddings e of their own
        P(u, v) = exp(u · v / T) / Z
        l_s = -log h(u_s, bank_t[i]) - Σ over M negatives j of log(1 - h(u_s, bank_t[j])),   h = P / (P + M/N + 1e-7)
        l = mean over B of (l_s + l_t);  l_t the same with the roles exchanged

    i is the image itself, j images of other classes. The banks hold an embedding of every training image; the rows of
    the batch then move towards its embeddings: bank <- unit(momentum · bank + (1 - momentum) · u). Z is fixed at the
    first batch so that N · P has the mean 1 there, for either bank. Banks and Z are buffers: a checkpoint holds them.

    Negatives come from torch's global generator, with replacement; the published code draws without where it can.

    Args:
        width_s, width_t: D of student and teacher.
        labels_N: class of every training image.
        embedding: E.
        negatives: M.
    Shapes: (B, D_s), (B, D_t), positions of the images in the training split (B,) int64 -> scalar. Memory grows with
    B · (N + M) and N · E.
    Raises:
        TypeError, ValueError: wrong tensors or numbers, or positions outside 0..N-1 (looked for on the CPU).
    Source: Tian, Krishnan, Isola, "Contrastive Representation Distillation", ICLR 2020, arXiv 1910.10699.
    """

    bank_s: Tensor
    bank_t: Tensor
    Z_s: Tensor
    Z_t: Tensor

    def __init__(
        self,
        width_s: int,
        width_t: int,
        labels_N: Tensor,
        embedding: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        self.negatives, self.temperature = negatives, check_positive("temperature", temperature)
        self.momentum = check_non_negative("momentum", momentum)
        self.embed_s, self.embed_t = nn.Linear(width_s, embedding), nn.Linear(width_t, embedding)
        self.strangers = Strangers(labels_N)
        reach = (3 / embedding) ** 0.5
        for name in ("bank_s", "bank_t"):
            self.register_buffer(name, torch.empty(len(labels_N), embedding).uniform_(-reach, reach))
        self.register_buffer("Z_s", torch.tensor(-1.0))
        self.register_buffer("Z_t", torch.tensor(-1.0))

    @ignores_autocast
    def forward(self, pooled_s: Tensor, pooled_t: Tensor, index_B: Tensor) -> Tensor:
        check_vectors(pooled_s, pooled_t)
        self._check_index(index_B, len(pooled_s))
        pooled_s_BD, pooled_t_BD = as_parameters_of(self, pooled_s, pooled_t.detach())
        u_s_BE, u_t_BE = unit(self.embed_s(pooled_s_BD)), unit(self.embed_t(pooled_t_BD))
        picks_BM = torch.cat([index_B[:, None], self.strangers(index_B, self.negatives)], dim=1)
        loss_s, self.Z_s = self._contrast(u_s_BE, self.bank_t, picks_BM, self.Z_s)
        loss_t, self.Z_t = self._contrast(u_t_BE, self.bank_s, picks_BM, self.Z_t)
        self.bank_s, self.bank_t = self._moved(self.bank_s, u_s_BE, index_B), self._moved(self.bank_t, u_t_BE, index_B)
        return loss_s + loss_t

    def _contrast(self, u_BE: Tensor, bank_NE: Tensor, picks_BM: Tensor, Z: Tensor) -> tuple[Tensor, Tensor]:
        # All N products and then a choice: a matrix product, where choosing first would copy B · M rows of the bank.
        scores_BM = (u_BE @ bank_NE.T).gather(1, picks_BM).div(self.temperature).exp()
        mean = of_all_processes(scores_BM.mean()[None]).mean()
        Z = torch.where(Z < 0, mean * len(bank_NE), Z)
        P_BM, noise = scores_BM / Z, self.negatives / len(bank_NE)
        true_B = (P_BM[:, 0] / (P_BM[:, 0] + noise + EPSILON)).log()
        false_BM = (noise / (P_BM[:, 1:] + noise + EPSILON)).log()
        return -(true_B + false_BM.sum(1)).mean(), Z

    def _moved(self, bank_NE: Tensor, u_BE: Tensor, index_B: Tensor) -> Tensor:
        # A new tensor: the backward pass still needs the old one. Every process moves the rows of all.
        u_BE, index_B = of_all_processes(u_BE), of_all_processes(index_B)
        rows_BE = self.momentum * bank_NE[index_B] + (1 - self.momentum) * u_BE
        return bank_NE.index_copy(0, index_B, unit(rows_BE))

    def _check_index(self, index_B: Tensor, batch: int) -> None:
        if not isinstance(index_B, Tensor) or index_B.dtype != torch.int64 or index_B.shape != (batch,):
            raise ValueError(
                f"index: wanted the positions of the {batch} images in the training split, an int64 tensor of shape "
                f"({batch},); batches of this package have them as Batch.index_B."
            )
        known = len(self.bank_s)
        if index_B.device.type == "cpu" and not 0 <= int(index_B.min()) <= int(index_B.max()) < known:
            raise ValueError(
                f"index: found positions from {int(index_B.min())} to {int(index_B.max())}, wanted 0 to {known - 1}: "
                "the bank has one row for every training image. Build CRD with the labels of the split it trains on."
            )

    def extra_repr(self) -> str:
        return f"negatives={self.negatives}, temperature={self.temperature:g}, momentum={self.momentum:g}"

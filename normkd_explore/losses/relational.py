"""Relations between predictions, and between logits: DIST, MLKD and BiLD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Sequence
from typing import Generic

from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import rows_that_count
from normkd_explore.divergence import Correlation, Differences, gram_distances, kl_B
from normkd_explore.divergence.relational import without_uncounted
from normkd_explore.losses.base import DistillationLoss, LogitLoss, P, soften
from normkd_explore.temperature import Constant, Unweighted, tell_epoch


class DIST(DistillationLoss[Constant, Correlation]):
    """Correlation of the predictions over the classes and over the batch, instead of their values.

        p = softmax(z / T)
        l = T² · (beta · (1 - r(p_s[b, :], p_t[b, :])) + gamma · (1 - mean_c r(p_s[:, c], p_t[:, c])))

    Mean over the batch; r is Pearson's correlation, see `Correlation`. Depends on which samples share a batch.
    Source: Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, arXiv 2205.10536.
    """

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(Constant(temperature), Correlation(beta, gamma))

    def extra_repr(self) -> str:
        return f"beta={self.divergence.beta}, gamma={self.divergence.gamma}, temperature={self.policy.temperature}"


class BiLD(DistillationLoss[Unweighted[Constant], Differences]):
    """KL between the pairwise differences of the k largest logits, once as the teacher ranks, once as the student.

        l = KL( D(z_t / T) || D(z_s / T) ) over the teacher's top k  +  the same over the student's top k

    Mean over the batch, without a factor T²; D: see `Differences`. Needs C >= 3. Made for language models: for
    (tokens, vocabulary) logits with positions to leave out see `normkd_explore.language`.
    Source: Li, Zhou, Song, "BiLD", COLING 2025, arXiv 2406.13555.
    """

    def __init__(self, k: int = 8, temperature: float = 3.0) -> None:
        super().__init__(Unweighted(Constant(temperature)), Differences(k))

    def extra_repr(self) -> str:
        return f"k={self.divergence.k}, temperature={self.policy.policy.temperature}"


class MultiLevelLoss(LogitLoss, Generic[P]):
    """The three levels of MLKD, added up over several temperature policies; see `MLKD`."""

    def __init__(self, policies: Sequence[P], as_coded: bool) -> None:
        super().__init__()
        self.policies, self.as_coded = list(policies), as_coded
        # A plain list hides parameters, and not every policy is a module: those that are, are entered here as well.
        parts: Sequence[object] = policies
        self.learned = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the policies."""
        for policy in self.policies:
            tell_epoch(policy, epoch, epochs)

    def compare(self, z_s_BC: Tensor, z_t_BC: Tensor, target: Tensor | None) -> Tensor:
        counts_B = rows_that_count(target, z_s_BC)
        number = len(z_s_BC) if counts_B is None else counts_B.sum().clamp_min(1)
        samples, classes = (_kept_share(n) if self.as_coded else 1.0 for n in (number, z_s_BC.shape[1]))
        total_B = 0.0 * z_s_BC[:, 0]
        for policy in self.policies:
            T_s_B1, T_t_B1, weight_B1 = policy(z_s_BC, z_t_BC)
            log_p_s_BC, log_p_t_BC = (
                F.log_softmax(soften(z_BC, T_B1), dim=1) for z_BC, T_B1 in ((z_s_BC, T_s_B1), (z_t_BC, T_t_B1))
            )
            p_s_BC, p_t_BC = (without_uncounted(log_p_BC.exp(), counts_B) for log_p_BC in (log_p_s_BC, log_p_t_BC))
            over_classes, over_batch_B = gram_distances(p_s_BC, p_t_BC)
            by_sample_B = weight_B1.squeeze(1) * kl_B(log_p_s_BC, log_p_t_BC) + over_batch_B
            total_B = total_B + samples * by_sample_B + classes * over_classes
        return total_B


def _kept_share(n: int | Tensor) -> float | Tensor:
    # What lies at or below the median of n different values: half of them, or with odd n one more than the rest.
    return (n + 1) // 2 / n


class MLKD(MultiLevelLoss[Constant]):
    """KL, class correlation and batch correlation at several temperatures: the logit part on one view of the images.

        P = softmax(z / T), (B, C)
        l = Σ over T of  T² · KL(P_t || P_s)  +  |P_tᵀ P_t - P_sᵀ P_s|² / C  +  |P_t P_tᵀ - P_s P_sᵀ|² / B

    T runs over `temperature` and `temperatures`; KL is a mean over the batch, the other two are the batch's own.
    Depends on which samples share a batch.

    The published code multiplies the finished scalars by masks meant to leave out confident samples and classes,
    so that it scales the KL and batch parts by the share of samples at or below the median confidence, and the
    class part by that of classes: about 1/2. That was hardly meant, so it is off by default; `as_coded=True`
    gives it (without ties: (B + 1) // 2 of B).

    Outside a loss on one view, and so not here: the second, strongly augmented view (RandAugment) with its
    cross-entropy and its KL, of which the published code takes two temperatures from the first view again.
    Source: "Multi-level Logit Distillation", CVPR 2023, and its code Jin-Ying/Multi-Level-Logit-Distillation.
    """

    def __init__(
        self,
        temperature: float = 4.0,
        temperatures: Sequence[float] = (2.0, 3.0, 5.0, 6.0),
        as_coded: bool = False,
    ) -> None:
        super().__init__([Constant(value) for value in (temperature, *temperatures)], as_coded)

    def extra_repr(self) -> str:
        first, *others = (policy.temperature for policy in self.policies)
        return f"temperature={first}, temperatures={tuple(others)}, as_coded={self.as_coded}"

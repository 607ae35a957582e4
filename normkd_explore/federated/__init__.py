"""Federated distillation with clients of which some lie: attacks, aggregations, and rounds to try them in.

    PCFDLA(strength=20.0)(logits)              what an attacker uploads, (..., C) -> (..., C)
    Median(of="probabilities")(uploads)        what the server concludes, (clients, samples, C) -> (samples, C)
    federate(federated_preset("glyphs/resnet20-resnet8", aggregate="median", malicious=2, attack="pcfdla", strength=20))

Attacks and aggregations are plain functions of tensors, so a strategy of any federation framework can call them. They
are here for the study of defences.
"""

from normkd_explore.federated.aggregation import Aggregation, GeometricMedian, Mean, Median, TrimmedMean
from normkd_explore.federated.attacks import ATTACKS, FDLA, LMA, PCFDLA, Attack, Fixed, Insight, Random, make_attack
from normkd_explore.federated.defences import ExpGuard, SpectralFilter, client_scores, outlier_scores, ranks
from normkd_explore.federated.exchange import exchange, forge, predict
from normkd_explore.federated.federation import Federation
from normkd_explore.federated.folder import FederatedFolder
from normkd_explore.federated.lesson import PocketNet, federated_lesson
from normkd_explore.federated.recipe import FederatedRecipe, federated_preset
from normkd_explore.federated.rounds import federate, prepare, run_rounds
from normkd_explore.federated.rules import AGGREGATIONS, make_aggregation
from normkd_explore.federated.split import deal, dirichlet

__all__ = [
    "AGGREGATIONS",
    "ATTACKS",
    "Aggregation",
    "Attack",
    "ExpGuard",
    "FDLA",
    "FederatedFolder",
    "FederatedRecipe",
    "Federation",
    "Fixed",
    "GeometricMedian",
    "Insight",
    "LMA",
    "Mean",
    "Median",
    "PCFDLA",
    "PocketNet",
    "Random",
    "SpectralFilter",
    "TrimmedMean",
    "client_scores",
    "deal",
    "dirichlet",
    "exchange",
    "federate",
    "federated_lesson",
    "federated_preset",
    "forge",
    "make_aggregation",
    "make_attack",
    "outlier_scores",
    "predict",
    "prepare",
    "ranks",
    "run_rounds",
]

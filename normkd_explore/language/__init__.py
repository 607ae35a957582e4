"""The losses on (tokens, vocabulary) logits of language models: some positions count, and memory is what is scarce.

TokenNormKD(3.0)(logits_student, logits_teacher, mask)          # logits of a teacher that is asked in every step
TokenNormKD(3.0)(logits_student, store.read(samples), mask)     # a teacher's top k, stored once: `TopKFile`
"""

from normkd_explore.language.store import TopKFile, TopKFileError
from normkd_explore.language.tokens import TokenBiLD, TokenKL, TokenLoss, TokenNormKD, TokenReverseKL
from normkd_explore.language.top_k import TopK

__all__ = [
    "TokenLoss",
    "TokenKL",
    "TokenReverseKL",
    "TokenNormKD",
    "TokenBiLD",
    "TopK",
    "TopKFile",
    "TopKFileError",
]

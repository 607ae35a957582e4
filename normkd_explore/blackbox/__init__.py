"""Black boxes: a teacher that only answers, and what can still be learned from it."""

from normkd_explore.blackbox.api import BlackBox, BudgetError
from normkd_explore.blackbox.recover import AnsweringTeacher, logits_from

__all__ = ["AnsweringTeacher", "BlackBox", "BudgetError", "logits_from"]

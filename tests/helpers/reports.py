"""Summaries of runs that need not be trained, and the table made of them."""

from __future__ import annotations


def summary(method: str, seed: int, top1: float, budget: str = "a", settings: str = "s") -> dict:
    return {
        "preset": "toy/t-s",
        "method": method,
        "settings": settings,
        "budget": budget,
        "seed": seed,
        "epochs": 3,
        "test": {"top1": top1},
        "best": {"top1": top1},
        "chosen_on": "val",
        "train_seconds": 1.0,
    }


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith("toy/")]

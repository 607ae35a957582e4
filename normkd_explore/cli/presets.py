"""The presets with one method's settings: what `normkd presets` lists."""

from __future__ import annotations

from typing import Any

from normkd_explore.cli.table import Column, Table
from normkd_explore.methods import get_method
from normkd_explore.methods.options import format_argument
from normkd_explore.training.recipes.presets import get_preset, list_presets


def known_presets(method: str) -> list[dict[str, Any]]:
    """Every named preset with the solver's numbers, the settings of `method`, and where they were published."""
    get_method(method)
    return [_describe(name, method) for name in list_presets()]


def _describe(name: str, method: str) -> dict[str, Any]:
    recipe = get_preset(name, method)
    settings = recipe.settings
    return {
        "preset": name,
        "method": method,
        "settings": settings.loss,
        "ce_weight": settings.ce_weight,
        "kd_weight": settings.kd_weight,
        "warmup_epochs": settings.warmup_epochs,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "lr": recipe.lr,
        "published": settings.published,
        "source": settings.source,
    }


def presets_table(method: str, presets: list[dict[str, Any]]) -> Table:
    """The presets as a table, under the solver that they share."""
    columns = [
        Column("preset"),
        Column(method, wraps=True),
        Column("CE x", right=True),
        Column("KD x", right=True),
        Column("warm-up", right=True, drop=1),
        Column("solver", heading=True),
        Column("published", style=lambda row: "green" if row[6] == "yes" else "yellow"),
        Column("source", notes=True),
    ]
    return Table(columns, [_row(preset) for preset in presets])


def _row(preset: dict[str, Any]) -> tuple[str, ...]:
    return (
        preset["preset"],
        " ".join(f"{name}={format_argument(value)}" for name, value in preset["settings"].items()) or "-",
        f"{preset['ce_weight']:g}",
        f"{preset['kd_weight']:g}",
        str(preset["warmup_epochs"]) if preset["warmup_epochs"] else "-",
        f"{preset['epochs']} ep, batch {preset['batch_size']}, lr {preset['lr']:g}",
        "yes" if preset["published"] else "no",
        preset["source"],
    )

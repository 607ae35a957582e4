"""After the last step: the test split measured once, then weights and summary in the run folder."""

from __future__ import annotations

from typing import Any

from normkd_explore.data import Dataset
from normkd_explore.models import save_weights
from normkd_explore.training.evaluate import eval_batches, evaluate
from normkd_explore.training.machine import processes
from normkd_explore.training.material import Material
from normkd_explore.training.prepare import Prepared
from normkd_explore.training.run import Run
from normkd_explore.training.runs.inputs import Inputs, read_inputs
from normkd_explore.training.runs.results import WEIGHTS
from normkd_explore.training.summary import summarise
from normkd_explore.training.teacher.provenance import origin_here


def finish(runs: list[Run], prepared: Prepared) -> list[dict[str, Any]]:
    """Complete the run folders and return the summaries (see `summarise`)."""
    # An older version may have started a folder: then nobody knows what that part had.
    kept = processes.share(lambda: [read_inputs(folder.path) for folder in prepared.folders])
    return [_finish(run, prepared.material, inputs) for run, inputs in zip(runs, kept, strict=True)]


def _finish(run: Run, material: Material, inputs: Inputs) -> dict[str, Any]:
    summary = {**summarise(run.learner, _test(run, material)), "inputs": inputs}
    if material.trust and run.learner.recipe.teacher:
        summary["validation"] = material.trust
    if run.folder:
        _write_results(run, material.dataset, summary, inputs.get("data"))
    return summary


def _test(run: Run, material: Material) -> dict[str, Any]:
    """The test split after the last epoch; protocol "paper" measured it already."""
    measured = run.learner.history[-1].get("test")
    if measured:
        return measured
    batches = eval_batches(material.dataset, "test", material.fabric.device, material.where.workers)
    return evaluate(run.learner.model, batches.epoch(0), shared=True)


def _write_results(run: Run, dataset: Dataset, summary: dict[str, Any], data: str | None) -> None:
    recipe = run.learner.recipe
    metadata = {
        "model": recipe.student,
        "dataset": dataset.name,
        "num_classes": str(dataset.num_classes),
        "method": recipe.method,
        **origin_here(dataset, data).texts(),
    }
    folder = run.kept
    summary[WEIGHTS] = {folder.student.name: save_weights(run.learner.module, folder.student, metadata=metadata)}
    folder.write_summary(summary)

"""The steps of an evaluation."""

from __future__ import annotations

from normkd_explore.training.evaluate import eval_size


def test_evaluation_steps_leave_no_process_without_an_image():
    """513 images in steps of 512 would leave one image to two processes; one process keeps its 256."""
    assert eval_size(513, 2) == 510 and eval_size(10_000, 2) == 512
    assert eval_size(257, 1) == 256 and eval_size(1, 4) == 1024

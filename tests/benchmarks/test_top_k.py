"""The benchmark of a teacher's top k: what it compares, without training anything."""

from __future__ import annotations

import pytest
import torch

from benchmarks.top_k import LOSSES, WAYS, Keeping, bias, gradient, spread, ways_of
from normkd_explore.language import TokenKL, TopK


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 100, generator=generator), 2 * torch.randn(6, 100, generator=generator)


def test_a_loss_that_keeps_sees_the_top_k_alone():
    z_s, z_t = drawn()
    for way, (mass, std) in WAYS.items():
        found = Keeping(TokenKL(2.0), 8, way)(z_s, z_t)
        torch.testing.assert_close(found, TokenKL(2.0)(z_s, TopK.of(z_t, 8, mass, std)))


def test_gradients_are_measured_where_the_student_stands():
    z_s, z_t = drawn()
    value, slope = gradient(TokenKL(1.0), z_s, z_t)
    assert value == pytest.approx(TokenKL(1.0)(z_s, z_t).item())
    torch.testing.assert_close(slope, (z_s.softmax(-1) - z_t.softmax(-1)) / len(z_s))


def test_every_case_has_a_line(capsys):
    bias(*drawn())
    spread(drawn()[1])
    lines = capsys.readouterr().out.splitlines()
    cases = sum(4 * len(ways_of(name)) for name in LOSSES)
    assert len(lines) == 1 + cases + 4 and "nan" not in "".join(lines)

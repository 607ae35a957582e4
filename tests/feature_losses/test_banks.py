"""The banks of CRD in several processes."""

from __future__ import annotations

import torch
import torch.multiprocessing as mp

from normkd_explore.feature_losses import CRD
from tests.helpers.feature_runs import LABELS


def one_of_two(rank: int, path: str, results) -> None:
    """A process of a distributed run: CRD on its share of four images."""
    store = torch.distributed.FileStore(path, 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    loss = CRD(3, 3, LABELS, embedding=4, negatives=5)
    pooled, index = torch.randn(4, 3), torch.tensor([7, 3, 9, 0])
    loss(pooled[rank::2], pooled[rank::2] + 1, index[rank::2])
    results[rank] = [loss.bank_s.tolist(), loss.bank_t.tolist(), loss.Z_s.item()]
    torch.distributed.destroy_process_group()


def test_the_banks_of_several_processes_stay_equal(tmp_path):
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(one_of_two, (str(tmp_path / "store"), results), nprocs=2)
        (bank_s, bank_t, Z), other = results[0], results[1]
    assert [bank_s, bank_t, Z] == other
    torch.manual_seed(0)
    alone = CRD(3, 3, LABELS, embedding=4, negatives=5)
    pooled = torch.randn(4, 3)
    alone(pooled, pooled + 1, torch.tensor([7, 3, 9, 0]))
    torch.testing.assert_close(torch.tensor(bank_s), alone.bank_s)

"""Kept logits reach the file without holding a GPU up."""

from __future__ import annotations

import torch

from normkd_explore.training.teacher import logit_table
from normkd_explore.training.teacher.kept_rows import KeptRows, row_checks


class Event:
    """What a GPU's copy to the host is waited for with."""

    def __init__(self):
        self.over, self.waited = False, 0

    def query(self):
        return self.over

    def synchronize(self):
        self.over, self.waited = True, self.waited + 1


def test_kept_logits_come_from_a_gpu_without_waiting(monkeypatch, tmp_path):
    """Training has them at once; they are in the file once their copies are over; `finish` alone waits."""
    events, sent = [], []

    def send(values):
        host = torch.full_like(values, torch.nan)  # not there yet
        events.append(Event())
        sent.append((host, values.clone()))
        return host, events[-1]

    def arrive(number):
        sent[number][0].copy_(sent[number][1])

    monkeypatch.setattr(logit_table, "sent_to_host", send)
    kept_RC, checks_R = torch.zeros(6, 3), torch.zeros(6, dtype=torch.int32)
    kept = KeptRows(kept_RC, checks_R, tmp_path / "lock")
    table = logit_table.LogitTable(torch.zeros(6, 3), torch.zeros(6, dtype=torch.bool), kept)
    logits_BC, rows_B = torch.arange(1.0, 19).view(6, 3), torch.arange(6)
    for part in rows_B.split(2):
        table.write(part, logits_BC[part])
    assert torch.equal(table.read(rows_B), logits_BC)  # training has them at once
    assert not table.missing(rows_B).any() and not kept.known(rows_B).any()
    arrive(0)
    events[0].over = True
    table.read(rows_B[:1])
    assert torch.equal(kept.known(rows_B), rows_B < 2)
    assert torch.equal(kept_RC[:2], logits_BC[:2]) and not kept_RC[2:].any()
    assert [event.waited for event in events] == [0, 0, 0]
    arrive(1), arrive(2)
    table.finish()
    assert torch.equal(kept_RC, logits_BC) and table.filled == 6
    assert torch.equal(checks_R, row_checks(rows_B, logits_BC))
    assert not events[0].waited and events[1].waited == events[2].waited == 1

"""Kept logits on a disk: nothing damaged is ever read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.models import create_model
from normkd_explore.training import Teacher, TeacherCache, make_fabric
from normkd_explore.training.teacher.kept_rows import row_checks
from normkd_explore.training.teacher.logit_table import CacheError
from normkd_explore.training.teacher.table_folder import CHECKS, HEADER, LOGITS
from tests.helpers.cached import attach, fill
from tests.helpers.toy import CLASSES, TRAIN


def truncate(folder):
    with open(folder / LOGITS, "rb+") as file:
        file.truncate(file.seek(0, 2) - 4)


def empty(folder):
    (folder / CHECKS).write_bytes(b"")


def remove(folder):
    (folder / LOGITS).unlink()


def break_header(folder):
    (folder / HEADER).write_text('{"format": 1')


def wrong_version(folder):
    header = json.loads((folder / HEADER).read_text())
    (folder / HEADER).write_text(json.dumps({**header, "format": 99}))


@pytest.mark.parametrize(
    "damage, reason",
    [
        (truncate, r"logits.f32 is damaged: it has 55,996 bytes, wanted 56,000"),
        (empty, r"checks.i32 is damaged: it has 0 bytes"),
        (remove, r"logits.f32 cannot be opened"),
        (break_header, r"cache.json is damaged"),
        (wrong_version, r"has format 99, wanted 1"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_reason(teacher, tmp_path, damage, reason):
    fill(teacher, tmp_path / "c", epochs=1)
    damage(tmp_path / "c")
    with pytest.raises(CacheError, match=reason):
        attach(teacher, tmp_path / "c")


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_a_known_row_is_noticed(tmp_path_factory, data):
    torch.manual_seed(7)
    teacher = Teacher(create_model("resnet8", num_classes=CLASSES), make_fabric("cpu"))
    folder = tmp_path_factory.mktemp("flip")
    known = torch.nonzero(fill(teacher, folder / "c", epochs=1).table.known_R).flatten().tolist()
    row = data.draw(st.sampled_from(known))
    byte, bit = data.draw(st.integers(0, 4 * CLASSES - 1)), data.draw(st.integers(0, 7))
    values = np.memmap(folder / "c" / LOGITS, np.uint8, "r+")
    values[row * 4 * CLASSES + byte] ^= 1 << bit
    values.flush()
    with pytest.raises(CacheError, match=f"row {row} does not match its checksum"):
        attach(teacher, folder / "c")


def test_rows_that_changed_places_are_noticed():
    rows, logits = torch.arange(4), torch.randn(4, 100)
    assert (row_checks(rows, logits) != row_checks(rows.flip(0), logits)).all()
    assert (row_checks(rows, torch.zeros(4, 3)) != 0).all()


def test_a_folder_with_other_things_is_left_alone(teacher, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CacheError, match=r"holds no cache.json \(found thesis.tex\)"):
        attach(teacher, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way(teacher, tmp_path):
    (tmp_path / "c").write_text("")
    with pytest.raises(CacheError, match="cannot be written"):
        attach(teacher, tmp_path / "c")
    with pytest.raises(ValueError, match="empty name"):
        TeacherCache("")


KILLED = """
import sys
import os, signal, torch
from normkd_explore.models import create_model
from normkd_explore.training import Teacher, make_fabric
from normkd_explore.training.teacher import cache as module
from tests.helpers.cached import attach
from tests.helpers.toy import CLASSES
torch.manual_seed(7)
teacher = Teacher(create_model("resnet8", num_classes=CLASSES), make_fabric("cpu"))
cached, prepared = attach(teacher, sys.argv[1])
write, count = cached.table.write, 0
def dying(rows, logits):
    global count
    count += 1
    if count == 3:  # in the middle: the rows are written, their checksums are not
        cached.table.kept.rows_RC.index_copy_(0, rows, logits)
        os.kill(os.getpid(), signal.SIGKILL)
    write(rows, logits)
cached.table.write = dying
for batch in prepared.epoch(0):
    pass
"""


def test_killed_between_row_and_checksum(teacher, tmp_path):
    """kill -9 in the middle of a write: the folder opens again, and only whole rows count."""
    # Blocks of 32 of one stretch of 56 images: two writes an epoch, so a smaller block is set for the third.
    code = KILLED.replace("cached, prepared", "module.CPU_ROWS = 16\ncached, prepared", 1)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")], timeout=100)
    assert done.returncode == -signal.SIGKILL
    cached, prepared = attach(teacher, tmp_path / "c")
    assert cached.table.filled == 32
    for batch in prepared.epoch(0):
        assert torch.equal(cached.logits(batch), teacher.logits(batch))
    assert cached.table.filled == TRAIN

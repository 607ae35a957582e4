"""Full disks, folders that may not be written, and what killed writers leave: said with a remedy, and cleaned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from normkd_explore.files.writing import WriteError, write_text
from normkd_explore.training import CheckpointError, RunFolder, train
from normkd_explore.training.runs.checkpoint import (
    list_checkpoints,
    load_checkpoint,
    remove_incomplete,
    save_checkpoint,
)
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet

SMALL = {"w": torch.tensor([1.0, 2.0]), "slots": {0: {"m": torch.zeros(1)}}, "history": [{"lr": 0.05}], "seconds": 1.5}


def plain(value):
    """Content that can be compared, with types and tensors told apart."""
    if isinstance(value, torch.Tensor):
        return ("tensor", str(value.dtype), value.tolist())
    if isinstance(value, dict):
        return [(repr(key), plain(item)) for key, item in value.items()]
    return [plain(item) for item in value] if isinstance(value, list) else repr(value)


def test_every_flipped_bit_of_a_header_is_an_error_or_changes_nothing(tmp_path):
    """R3: what a flip may leave as it was is white space; nothing else loads, and nothing raises another error."""
    path = save_checkpoint(tmp_path, 1, 3, SMALL, "abc").with_suffix(".json")
    whole, payload = load_checkpoint(path, "abc"), path.read_bytes()
    refused = 0
    for place in range(len(payload)):
        for bit in range(8):
            damaged = bytearray(payload)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found = load_checkpoint(path, "abc")
            except CheckpointError:
                refused += 1
            else:
                assert (found.epoch, found.step, plain(found.state)) == (1, 3, plain(whole.state)), bytes(damaged)
    assert refused > 7 * len(payload) * 0.9


def test_a_renamed_header_and_another_runs_checkpoint_are_refused(tmp_path):
    path = save_checkpoint(tmp_path, 1, 3, SMALL, "abc")
    with pytest.raises(CheckpointError, match=r"another run \(recipe abc, wanted def\).*config\.yaml"):
        load_checkpoint(path.with_suffix(".json"), "def")
    for suffix in (".json", ".safetensors"):
        path.with_suffix(suffix).rename(tmp_path / f"epoch0002-step0000000{suffix}")
    with pytest.raises(CheckpointError, match=r"epoch0002.* says epoch 1, step 3: the file was renamed"):
        load_checkpoint(tmp_path / "epoch0002-step0000000.json", "abc")


def test_a_checkpoint_of_the_format_before_says_what_to_do(tmp_path):
    path = save_checkpoint(tmp_path, 1, 3, SMALL).with_suffix(".json")
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(CheckpointError, match=r"format 1; this version reads format 2.*wrote it.*--out"):
        load_checkpoint(path)


def test_a_full_disk_names_file_and_remedy_and_the_run_goes_on(tmp_path, monkeypatch):
    """The second epoch's checkpoint does not fit; metrics.jsonl tells of no epoch that is not saved."""
    where, real, calls = toy_where(tmp_path), Path.write_bytes, []

    def write_bytes(path, content):
        calls.append(path)
        if len(calls) == 2:
            real(path, content[:10])
            raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    out = tmp_path / "run"
    with pytest.raises(CheckpointError, match=r"epoch0002.*could not be written: No space left.*Free space.*--resume"):
        train(toy_recipe("ce"), out, where, watch=quiet, dataset=toy_dataset())
    assert [line["epoch"] for line in RunFolder(out).metrics()] == [1]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == [
        "epoch0001-step0000000.json",
        "epoch0001-step0000000.safetensors",
    ]
    train(toy_recipe("ce"), out, where, resume=True, watch=quiet, dataset=toy_dataset())
    train(toy_recipe("ce"), tmp_path / "whole", where, watch=quiet, dataset=toy_dataset())
    ours, whole = (load_file(folder / "student.safetensors") for folder in (out, tmp_path / "whole"))
    assert all(torch.equal(tensor, ours[name]) for name, tensor in whole.items())
    assert [line["epoch"] for line in RunFolder(out).metrics()] == [1, 2]


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from normkd_explore.training.runs.checkpoint import CheckpointError, latest_checkpoint, save_checkpoint
from normkd_explore.files.writing import WriteError, write_text

folder = Path(sys.argv[1])
save_checkpoint(folder, 0, 1, {"w": torch.ones(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
for write, kind in (
    (lambda: save_checkpoint(folder, 0, 2, {"w": torch.zeros(100_000)}), CheckpointError),
    (lambda: write_text(folder / "metrics.jsonl", "x" * 100_000), WriteError),
):
    try:
        write()
        print("written")
    except kind as error:
        print(error)
print(latest_checkpoint(folder).step, sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_real_limit_of_the_system_is_explained_too(tmp_path):
    """Not an injected error: the system refuses to write more than 20,000 bytes to a file."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, str(tmp_path)], capture_output=True, text=True
    )
    first, second, last = done.stdout.splitlines()
    for line, name in ((first, "epoch0000-step0000002.safetensors"), (second, "metrics.jsonl")):
        assert name in line and "File too large" in line and "Free space there" in line, done.stderr
    assert last == "1 ['epoch0000-step0000001.json', 'epoch0000-step0000001.safetensors']"


def test_a_folder_that_may_not_be_written_names_the_option(tmp_path, monkeypatch):
    def mkdir(self, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(self))

    where = toy_where(tmp_path)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(WriteError, match=r"run could not be written: Read-only file system.*another folder with --out"):
        train(toy_recipe("ce"), tmp_path / "run", where, watch=quiet, dataset=toy_dataset())


def test_errors_without_a_number_keep_their_words(tmp_path):
    with pytest.raises(WriteError, match=r"file could not be written: odd\. See to that"):
        from normkd_explore.files.writing import explained

        with explained(tmp_path / "file"):
            raise OSError("odd\nmore")


def test_what_killed_writers_left_is_cleaned_when_the_run_starts_again(tmp_path):
    """Temporary files and tensors without a header go; checkpoints and files of the user stay."""
    where, out = toy_where(tmp_path), tmp_path / "run"
    left = [
        out / "metrics.jsonl.tmp-4242",
        out / ".student.safetensors.tmp-17",
        out / "checkpoints" / ".tmp1RrlST",
        out / "checkpoints" / "epoch0001-step0000002.safetensors.tmp-4242",
        out / "checkpoints" / "epoch0001-step0000002.safetensors",
    ]
    stay = [out / "notes.tmp-mine", out / "checkpoints" / "mine.safetensors"]
    (out / "checkpoints").mkdir(parents=True)
    for path in (*left, *stay):
        path.write_bytes(b"x")
    train(toy_recipe("ce", epochs=1), out, where, watch=quiet, dataset=toy_dataset())
    assert not any(path.exists() for path in left) and all(path.exists() for path in stay)


def test_cleaning_keeps_whole_checkpoints(tmp_path):
    save_checkpoint(tmp_path, 1, 0, SMALL)
    remove_incomplete(tmp_path)
    remove_incomplete(tmp_path / "nowhere")
    assert len(list_checkpoints(tmp_path)) == 1 and load_checkpoint(list_checkpoints(tmp_path)[0]).epoch == 1
    write_text(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "b"

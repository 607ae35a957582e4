"""Stored logits: found by sample, checked, announced, and refused where they are not what they should be."""

from __future__ import annotations

import os
import random

import pytest
import torch
from safetensors.torch import load_file, save_file

from normkd_explore.language import TokenKL, TopK, TopKFile, TopKFileError
from normkd_explore.language.layout import HEADER_ROOM, Layout, choose_layout, readable

N, L, V, K = 7, 5, 60, 8
WHOSE = {"teacher": "resnet", "data": "abc"}
PARTS = ("values", "index", "rest", "rest_mean", "rest_std")


def logits(sample: int, length: int = L) -> torch.Tensor:
    return 3 * torch.randn(length, V, generator=torch.Generator().manual_seed(sample))


def tokens(sample: int, length: int = L) -> torch.Tensor:
    return torch.arange(length) + 10 * sample


def batch(samples: list[int], length: int = L) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    each = [(logits(sample, length), tokens(sample, length)) for sample in samples]
    return torch.tensor(samples), *(torch.stack(part) for part in zip(*each, strict=True))


def create(path, **named) -> TopKFile:
    told: list[str] = []
    writer = TopKFile.create(path, N, L, V, **{**WHOSE, "k": K, "dtype": "float32", "tell": told.append, **named})
    assert told == [f"{path}: {writer.layout.describe()}"]
    return writer


@pytest.fixture
def stored(tmp_path):
    """Every sample, written in an order of its own."""
    path = tmp_path / "teacher.topk"
    with create(path) as writer:
        for samples in ([6, 0, 3], [1, 5], [2, 4]):
            writer.write(*batch(samples))
    return path


def test_samples_are_found_in_any_order(stored):
    store = TopKFile(stored, **WHOSE)
    for samples in ([4, 1], [6, 5, 0], [2, 2, 3]):
        which, z, words = batch(samples)
        found, wanted = store.read(which, words), TopK.of(z, K)
        for name in PARTS:
            torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=0, atol=0)
        assert found.vocabulary == V and found.index.dtype == torch.int64
    assert not [name for name in os.listdir(stored.parent) if name != stored.name]  # no lock is left


def test_half_as_large_is_nearly_as_good(tmp_path):
    with create(tmp_path / "half", dtype="float16") as writer:
        writer.write(*batch(list(range(N))))
    which, z, words = batch([3, 1])
    student = torch.randn(2, L, V)
    half = TokenKL(1.0)(student, TopKFile(tmp_path / "half").read(which, words))
    torch.testing.assert_close(half, TokenKL(1.0)(student, TopK.of(z, K)), rtol=1e-3, atol=0)


def test_shorter_samples_are_filled_up_with_nothing(tmp_path):
    with create(tmp_path / "file") as writer:
        writer.write(*batch([0], 3))
        writer.write(*batch([1], 5))
    found = TopKFile(tmp_path / "file").read(torch.tensor([0, 1]))
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    student = torch.randn(2, 5, V)
    wanted = [TokenKL()(student[i, :n][None], TopK.of(logits(i, n)[None], K)) * n / 8 for i, n in ((0, 3), (1, 5))]
    torch.testing.assert_close(TokenKL()(student, found, mask), sum(wanted))
    assert found.values.shape == (2, 5, K)


def test_the_file_is_as_large_as_announced_and_others_can_read_it(stored):
    store = TopKFile(stored)
    assert store.layout.size == stored.stat().st_size and readable(store.layout.size) in store.layout.describe()
    assert "7 samples x 5 positions x the top 8 of 60 in float32" in store.layout.describe()
    tensors = load_file(stored)
    torch.testing.assert_close(tensors["values"][4], TopK.of(logits(4), K).values, rtol=0, atol=0)
    assert tensors["index"].dtype == torch.uint16 and tensors["lengths"].tolist() == [L] * N


def test_k_and_type_are_chosen_by_size(tmp_path):
    def chosen(limit, **named):
        layout = choose_layout(tmp_path / "x", 1000, 100, 50_000, limit=limit, **named)
        assert layout.size <= limit
        return layout.k, layout.dtype

    sizes = {
        (k, kind): Layout(1000, 100, 50_000, k, kind).size for k in (16, 64, 256) for kind in ("float16", "float32")
    }
    assert chosen(10**9) == (256, "float32")
    assert chosen(sizes[256, "float32"] - 1) == (256, "float16")
    assert chosen(sizes[64, "float16"]) == (64, "float16")
    assert chosen(sizes[16, "float32"]) == (16, "float32")
    assert chosen(10**9, k=20, dtype="float16") == (20, "float16")
    with pytest.raises(ValueError, match=r"found .* for the top 8 in float16, the least, wanted at most the 1.0 MB of"):
        chosen(10**6)
    assert choose_layout(tmp_path / "x", 10, 10, 20, limit=10**9).k == 16


def test_a_writer_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "file"
    with create(path) as writer:
        writer.write(*batch([2, 5]))
    with TopKFile.append(path, **WHOSE) as writer:
        assert writer.missing().tolist() == [0, 1, 3, 4, 6] and writer.known == 2
        writer.write(*batch([0]))
        with pytest.raises(TopKFileError, match=r"found nothing for sample 3, only 3 of 7.*TopKFile.append"):
            writer.read(torch.tensor([3]))
    assert TopKFile(path).known == 3
    with pytest.raises(TopKFileError, match=r"file: found a file, wanted a new name. Go on in it with TopKFile.append"):
        create(path)
    with pytest.raises(TopKFileError, match="opened for reading"):
        TopKFile(path).write(*batch([1]))


def test_a_sample_that_was_being_written_is_not_there(tmp_path, monkeypatch):
    with create(tmp_path / "file") as writer:
        writer.write(*batch([2]))
        monkeypatch.setattr(writer, "_checksum", lambda sample: 1 / 0)  # the power is gone before the checksum
        with pytest.raises(ZeroDivisionError):
            writer.write(*batch([2]))
        assert writer.known == 0


def test_other_tokens_are_noticed(stored):
    """Another order of the data set, another tokenizer, another cut: the logits would belong to other words."""
    store = TopKFile(stored)
    which, _, words = batch([4, 1])
    for wrong in (words.flip(0), words + 1, words[:, :4]):
        with pytest.raises(TopKFileError, match=r"found logits of other tokens for sample [14]"):
            store.read(which, wrong)


@pytest.mark.parametrize("seed", range(12))
def test_no_flipped_bit_passes(stored, seed):
    """Anywhere: in the header the file is refused, behind it the sample that holds the bit."""
    content, place = bytearray(stored.read_bytes()), random.Random(seed)
    at = place.randrange(8, HEADER_ROOM) if seed < 4 else place.randrange(HEADER_ROOM, len(content))
    content[at] ^= 1 << place.randrange(8)
    stored.write_bytes(content)
    with pytest.raises(TopKFileError, match=f"{stored.name}: found "):
        TopKFile(stored).read(torch.arange(N), batch(list(range(N)))[2])


def foreign(path, kind: str) -> None:
    whole = path.read_bytes()
    path.unlink()
    contents = {"empty": b"", "truncated": whole[:-1], "longer": whole + b"0", "header alone": whole[:HEADER_ROOM],
                "text": b"hello" * 2000, "binary": os.urandom(9000)}  # fmt: skip
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "safetensors":
        save_file({"weight": torch.zeros(3000)}, path)
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()


KINDS = (
    "empty",
    "truncated",
    "longer",
    "header alone",
    "text",
    "binary",
    "safetensors",
    "named pipe",
    "folder",
    "none",
)


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_files_are_refused_in_one_line(stored, kind):
    foreign(stored, kind)
    with pytest.raises(TopKFileError, match="Name another file, or delete it and write") as refused:
        TopKFile(stored)
    assert str(refused.value).startswith(f"{stored}: found ") and "\n" not in str(refused.value)


def test_another_teacher_or_data_set_is_refused(stored):
    with pytest.raises(TopKFileError, match="found the logits of teacher 'resnet', wanted those of 'vgg'"):
        TopKFile(stored, teacher="vgg")
    with pytest.raises(TopKFileError, match="found the logits of data 'abc', wanted those of 'xyz'"):
        TopKFile.append(stored, teacher="resnet", data="xyz")


BAD = {
    "samples outside": (torch.tensor([7]), logits(0)[None], tokens(0)[None]),
    "samples negative": (torch.tensor([-1]), logits(0)[None], tokens(0)[None]),
    "samples of a kind": (torch.tensor([1.0]), logits(0)[None], tokens(0)[None]),
    "other vocabulary": (torch.tensor([1]), logits(0)[None, :, :9], tokens(0)[None]),
    "too long": (torch.tensor([1]), logits(0, 6)[None], tokens(0, 6)[None]),
    "other tokens": (torch.tensor([1]), logits(0)[None], tokens(0)),
    "nan": (torch.tensor([1]), logits(0)[None] * float("nan"), tokens(0)[None]),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD)
def test_what_does_not_fit_is_not_written(tmp_path, given):
    with create(tmp_path / "file") as writer:
        with pytest.raises(ValueError, match="wanted"):
            writer.write(*given)
        assert writer.known == 0


def test_the_disk_is_asked_before(tmp_path):
    with pytest.raises(ValueError, match="that a quarter of the free disk allows"):
        TopKFile.create(tmp_path / "x", 10**9, 4096, 150_000, **WHOSE)
    assert not os.listdir(tmp_path)

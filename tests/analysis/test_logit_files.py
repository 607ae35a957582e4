"""Files of logits as others write them: what is no logit is not counted as one, and no file fills the memory."""

import io
import os
import warnings
import zipfile

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import save_file

from normkd_explore.analysis.logit_files import load_logits
from tests.helpers.image_files import within

LOGITS_NC = np.random.default_rng(0).normal(0, 3, (6, 4)).round(3)
LABELS_N = np.array([0, 3, 1, 1, 2, 0])


def frame(**columns):
    return pandas.DataFrame({**columns, **{str(c): LOGITS_NC[:, c] for c in range(4)}})


def named(frame):
    return frame.rename(columns={str(c): f"class {c}" for c in range(4)})


WRITTEN = {
    "index and numbered classes": (frame().to_csv(), "first column .*index"),
    "index and named classes": (named(frame()).to_csv(), "first column .*index"),
    "index with a name": (frame().to_csv(index_label="id"), "first column .id. is an index"),
    "index that was read and written again": (frame().reset_index(names="Unnamed: 0").to_csv(index=False), "index"),
    "index of file names": (frame().set_index(pandas.Index(list("abcdef"))).to_csv(), "index"),
    "index of some rows": (frame().set_index(pandas.Index([7, 3, 9, 1, 4, 8])).to_csv(), "index"),
    "index without a header": (frame().to_csv(header=False), "first column counts the rows"),
    "numbered classes": (frame().to_csv(index=False), "first line numbers the classes"),
    "classes numbered from 1": ("1,2,3,4\n" + frame().to_csv(index=False, header=False), "first line numbers"),
    "named classes": (named(frame()).to_csv(index=False), None),
    "numbers alone": (frame().to_csv(index=False, header=False), None),
    "index and labels": (frame(label=LABELS_N).to_csv(), "first column .*index"),
    "labels": (frame(label=LABELS_N).to_csv(index=False), None),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_pandas_writes_is_read_without_index_and_header(tmp_path, kind):
    text, told = WRITTEN[kind]
    (tmp_path / "x.csv").write_text(text)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        saved = load_logits(tmp_path / "x.csv")
    np.testing.assert_array_equal(saved.logits_NC, LOGITS_NC)
    if "labels" in kind:
        np.testing.assert_array_equal(saved.labels_N, LABELS_N)
    else:
        assert saved.labels_N is None
    if told:
        with pytest.warns(UserWarning, match=rf"x.csv: .*{told}"):
            load_logits(tmp_path / "x.csv")
    assert len(found) == bool(told)


@pytest.mark.parametrize("text", ["0,1\n1,0\n", "0,1\n3,2\n5,4\n", "2,1,0\n0,1,2\n", "0.5,1,2\n1,1,2\n2,1,2.5\n"])
def test_numbers_that_only_begin_like_a_header_or_an_index_stay(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    expected = [[float(cell) for cell in row.split(",")] for row in text.split()]
    assert load_logits(tmp_path / "x.csv").logits_NC.tolist() == expected


def test_a_file_of_labels_may_have_an_index_too(tmp_path):
    np.save(tmp_path / "x.npy", LOGITS_NC)
    pandas.Series(LABELS_N, name="label").to_csv(tmp_path / "y.csv")
    with pytest.warns(UserWarning, match=r"y.csv: the first column"):
        assert load_logits(tmp_path / "x.npy", tmp_path / "y.csv").labels_N.tolist() == LABELS_N.tolist()


UNREAL = {
    "complex64": torch.zeros(3, 4, dtype=torch.complex64),
    "complex128": torch.zeros(3, 4, dtype=torch.complex128),
    "sparse_coo": torch.eye(4).to_sparse(),
    "meta": torch.empty(3, 4, device="meta"),
}


@pytest.mark.parametrize("kind", UNREAL)
def test_numbers_that_are_not_real_and_plain_are_refused_by_their_kind(tmp_path, kind):
    torch.save({"logits": UNREAL[kind]}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=rf"x.pt holds a tensor of kind .*{kind}.*, wanted plain real numbers"):
        load_logits(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", ["complex128", "longdouble", "datetime64[s]", "U3"])
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_arrays_of_other_kinds_are_refused_by_their_kind(tmp_path, name, dtype):
    values = np.zeros((3, 4), dtype)
    np.save(tmp_path / name, values) if name == "x.npy" else np.savez(tmp_path / name, logits=values)
    with pytest.raises(ValueError, match=rf"{name} holds values of dtype .*, wanted plain numbers"):
        load_logits(tmp_path / name)


def header(shape):
    stored = io.BytesIO()
    np.lib.format.write_array_header_1_0(stored, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stored.getvalue()


def bomb(path, name, claimed):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as entry:
        entry.write(header((claimed // 8, 1)))
        for _ in range(claimed >> 24):
            entry.write(bytes(1 << 24))


def unreal_files(folder):
    rows = 10**12
    (folder / "rows.npy").write_bytes(header((rows, 10)) + bytes(800))
    (folder / "no columns.npy").write_bytes(header((rows, 0)))
    with zipfile.ZipFile(folder / "rows.npz", "w") as archive:
        archive.writestr("logits.npy", header((rows, 10)) + bytes(800))
    torch.save(torch.zeros(1, 1).expand(rows, 10), folder / "rows.pt")
    torch.save({"logits": torch.zeros(rows, 0)}, folder / "no columns.pt")
    save_file({"logits": torch.zeros(rows, 0)}, folder / "no columns.safetensors")
    torch.save(torch.zeros(1).expand(10**10), folder / "labels.pt")


@pytest.mark.parametrize(
    "name",
    ["rows.npy", "no columns.npy", "rows.npz", "rows.pt", "no columns.pt", "no columns.safetensors", "labels.pt"],
)
def test_ten_to_the_twelve_rows_are_refused_at_once(tmp_path, name):
    unreal_files(tmp_path)
    with within(5), pytest.raises(ValueError, match=name):
        load_logits(tmp_path / name)


@pytest.mark.parametrize("name", ["x.npz", "x.pt"])
def test_an_archive_that_inflates_a_thousand_times_is_refused_unopened(tmp_path, monkeypatch, name):
    monkeypatch.setattr("normkd_explore.files.regular.MODEST", 2**25)
    if name == "x.npz":
        bomb(tmp_path / name, "logits.npy", 2**26)
    else:
        torch.save(torch.zeros(2**23, 1), tmp_path / "plain.pt")
        with (
            zipfile.ZipFile(tmp_path / "plain.pt") as plain,
            zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for member in plain.infolist():
                packed.writestr(member.filename, plain.read(member))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("opened"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match=rf"{name} has .* bytes and says that it holds"):
        load_logits(tmp_path / name)


def test_archives_of_ordinary_content_are_read_however_well_they_pack(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", logits=np.zeros((10**6, 10)), features=np.zeros(7))
    assert load_logits(tmp_path / "x.npz").logits_NC.shape == (10**6, 10)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xff\xfe1\x00,\x002\x00\n\x00", "no text in UTF-8"),
        ("ä,1\n".encode("latin-1"), "no text in UTF-8"),
        (b"1,2\n" + b'"' + b"1" * 200_000 + b'"', "no CSV file"),
        (b"", "no rows of numbers"),
        (b"1,2\n3,4\x00\n", "x.csv"),
    ],
)
def test_texts_that_are_no_table_are_named(tmp_path, content, text):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x.csv.*{text}|{text}"):
        load_logits(tmp_path / "x.csv")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".pt", ".csv"])
def test_a_pipe_is_refused_unopened(tmp_path, suffix):
    os.mkfifo(tmp_path / f"x{suffix}")
    with within(5), pytest.raises(ValueError, match=rf"x{suffix} is a named pipe, wanted a regular file"):
        load_logits(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".pt"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, LOGITS_NC)
    elif suffix == ".npz":
        np.savez_compressed(path, logits=LOGITS_NC)
    else:
        (torch.save if suffix == ".pt" else save_file)({"logits": torch.from_numpy(LOGITS_NC)}, path)
    whole, random = path.read_bytes(), np.random.default_rng(1)
    for length in range(0, len(whole) - 1, max(1, len(whole) // 25)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"x{suffix} (is|holds) ") as caught:
            load_logits(path)
        assert "\n" not in str(caught.value)
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            load_logits(path)
        except ValueError as error:
            assert path.name in str(error) and "\n" not in str(error)

"""The one reader of images: the right values of every kind of file, and one error that names what it refuses."""

import os

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, TiffImagePlugin

from normkd_explore.data import load_dataset
from normkd_explore.data.images.jpeg_header import whole_rgb_jpeg
from normkd_explore.data.images.streaming import JpegFiles, PictureFiles
from normkd_explore.data.read import Oddity, oddity_of, read_picture, read_rgb, size_of
from tests.helpers.image_files import EPS, encoded, png_that_claims, within, write_folder

RAMP_HW = np.linspace(0, 65535, 64 * 64).reshape(64, 64).round()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))


def plain_pgm(values_HW, largest):
    height, width = values_HW.shape
    return f"P2 {width} {height} {largest}\n".encode() + " ".join(map(str, values_HW.ravel().astype(int))).encode()


def raw_pgm(values_HW, largest):
    height, width = values_HW.shape
    return f"P5 {width} {height} {largest}\n".encode() + values_HW.astype(">u2").tobytes()


def tiff(values_HW, **tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag[1:])] = value
    return encoded(Image.fromarray(values_HW.astype(np.uint16)), "TIFF", tiffinfo=info)


def twelve_bit_tiff(values_HW):
    """Two values in three bytes, which Pillow reads and does not write."""
    first, second = values_HW.astype(int).reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()
    height, width = values_HW.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 3, height), (279, 4, len(packed))]
    entries = b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, kind, value in tags
    )
    start = (8 + len(packed)).to_bytes(4, "little")
    return b"II*\0" + start + packed + len(tags).to_bytes(2, "little") + entries + bytes(4)


WIDE = {
    "16.png": (encoded(Image.fromarray(RAMP_HW.astype(np.uint16)), "PNG"), RAMP_HW / 65535),
    "16.tif": (tiff(RAMP_HW), RAMP_HW / 65535),
    "black-is-65535.tif": (tiff(RAMP_HW, t262=0), 1 - RAMP_HW / 65535),
    "12.tif": (twelve_bit_tiff(RAMP_HW // 16), RAMP_HW // 16 / 4095),
    "16.pgm": (raw_pgm(RAMP_HW, 65535), RAMP_HW / 65535),
    "12.pgm": (raw_pgm(RAMP_HW // 16, 4095), RAMP_HW // 16 / 4095),
    "thousand.pgm": (plain_pgm(RAMP_HW // 66, 1000), RAMP_HW // 66 / 1000),
}


@pytest.mark.parametrize("name", WIDE)
def test_values_of_more_than_8_bits_are_scaled_by_their_range(tmp_path, name):
    content, share_HW = WIDE[name]
    (tmp_path / name).write_bytes(content)
    image, oddity = read_picture(tmp_path / name)
    found_HWC = np.asarray(image)
    assert np.abs(found_HWC[..., 0] - 255 * share_HW).max() <= 0.51  # Pillow itself rounds some to 16 bits before
    assert (found_HWC == found_HWC[..., :1]).all()
    assert oddity == Oddity.WIDE == oddity_of(tmp_path / name)


def test_8_bits_kept_in_16_are_called_nearly_black(tmp_path):
    (tmp_path / "x.png").write_bytes(encoded(Image.fromarray((RAMP_HW // 257).astype(np.uint16)), "PNG"))
    assert read_picture(tmp_path / "x.png")[1] == Oddity.WIDE | Oddity.DIM


@pytest.mark.parametrize(("name", "mode", "dtype"), [("x.tif", "I", np.int32), ("y.tiff", "F", np.float32)])
def test_values_without_a_known_range_are_refused_by_their_mode(tmp_path, name, mode, dtype):
    Image.fromarray(RAMP_HW.astype(dtype)).save(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} cannot be read as an image .*mode {mode} .*save it with 8 bits"):
        read_rgb(tmp_path / name)


def test_a_float_map_is_refused_too(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"Pf\n2 2\n-1.0\n" + np.array([0, 0.5, 1, 2], "<f4").tobytes())
    with pytest.raises(ValueError, match=r"x.pgm cannot be read .*mode F"):
        read_rgb(tmp_path / "x.pgm")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_colours_beneath_transparent_places_are_read_and_that_is_told(tmp_path, mode):
    colours = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(colours).convert(mode)
    image.save(tmp_path / "opaque.png")
    image.putalpha(Image.fromarray(colours.T.copy()))
    image.save(tmp_path / "clear.png")
    for name, oddity in (("opaque.png", Oddity(0)), ("clear.png", Oddity.TRANSPARENT)):
        found, told = read_picture(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(found)[..., 1], colours)
        assert told == oddity == oddity_of(tmp_path / name)


def test_a_picture_that_is_in_its_transparency_alone_is_refused(tmp_path):
    image = Image.new("RGBA", (16, 16))
    image.putalpha(Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)))
    image.save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"x.png cannot be read .*one colour everywhere .*lay it over a background"):
        read_rgb(tmp_path / "x.png")


def test_palettes_give_their_colours(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8))
    picture.quantize(16).save(tmp_path / "x.png")
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "x.png")), np.asarray(picture))


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "PNG"])
def test_the_first_of_several_pictures_is_read_and_that_is_told(tmp_path, format):
    pages = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (40, 200)]
    path = tmp_path / f"x.{format.lower()}"
    pages[0].save(
        path, format, save_all=True, append_images=pages[1:], **{"lossless": True} if format == "WEBP" else {}
    )
    image, oddity = read_picture(path)
    assert (image.getpixel((3, 3)), oddity, oddity_of(path)) == ((40, 0, 0), Oddity.SEVERAL, Oddity.SEVERAL)


def test_what_is_odd_is_said_with_the_data_set(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1})
    Image.fromarray(RAMP_HW.astype(np.uint16)).save(root / "train" / "ant" / "wide.png")
    Image.new("RGBA", (16, 16), (1, 2, 3, 4)).save(root / "test" / "ant" / "clear.png")
    for _ in range(2):  # the second time from the cache
        text = load_dataset("imagefolder", root).describe()
        assert "1 of 10 images have more than 8 bits a value, scaled to 8" in text
        assert "1 of 10 images have transparent places, where the colours beneath are read" in text
    assert (
        "1 of 10 images looked at have more than 8 bits" in load_dataset("imagefolder", root, image_size=128).describe()
    )


def test_only_dim_images_are_warned_of(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1})
    for path in sorted(root.rglob("*.png"))[:5]:
        Image.fromarray(np.full((16, 16), 255, np.uint16)).save(path)
    with pytest.warns(UserWarning, match=r"5 of the 5 images .*look black.*multiply"):
        load_dataset("imagefolder", root)


HOSTILE = {
    "eps": EPS,
    "gif": encoded(Image.new("RGB", (16, 16)), "GIF"),
    "tga": encoded(Image.new("RGB", (16, 16)), "TGA"),
    "psd": b"8BPS" + bytes(60),
    "50,000 x 50,000": png_that_claims(50_000, 50_000),
    "10,000 x 9,000": png_that_claims(10_000, 9_000),  # where Pillow warns
    "no pixels": png_that_claims(100, 100),
    "text": b"<html>not found</html>",
    "empty": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif"])
def test_what_is_no_announced_format_is_refused_unopened(tmp_path, monkeypatch, kind, name):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    (tmp_path / name).write_bytes(HOSTILE[kind])
    with pytest.raises(ValueError, match=rf"{name} cannot be read as an image \(.*\); replace or remove it$"):
        read_rgb(tmp_path / name)
    assert not whole_rgb_jpeg(HOSTILE[kind])


@pytest.mark.parametrize("kind", ["50,000 x 50,000", "10,000 x 9,000"])
def test_a_size_beyond_the_limit_is_known_from_the_header(tmp_path, kind):
    (tmp_path / "x.png").write_bytes(HOSTILE[kind])
    for look in (size_of, oddity_of, read_rgb):
        with pytest.raises(ValueError, match=r"x.png cannot be read as an image .*pixels"):
            look(tmp_path / "x.png")


def test_a_jpeg_beyond_the_limit_is_not_for_the_gpu(monkeypatch):
    content = encoded(Image.new("RGB", (40, 40)), "JPEG")
    assert whole_rgb_jpeg(content)
    monkeypatch.setattr("normkd_explore.data.read.MOST_PIXELS", 1599)
    assert not whole_rgb_jpeg(content)


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_pipes_and_devices_are_refused_unopened(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / name).symlink_to(tmp_path / "pipe")
    for look in (size_of, oddity_of, read_rgb):
        with (
            within(5),
            pytest.raises(ValueError, match=rf"{name} cannot be read as an image \(is a named pipe, wanted"),
        ):
            look(tmp_path / name)
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with within(5), pytest.raises(ValueError, match=r"zero.jpg cannot be read as an image \(is a device, wanted"):
        read_rgb(tmp_path / "zero.jpg")


@pytest.mark.parametrize("reader", [PictureFiles, JpegFiles])
def test_a_pipe_in_a_stream_ends_the_epoch_with_its_name(tmp_path, reader):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1}, size=(120, 100), suffix="jpg")
    split = load_dataset("imagefolder", root).train
    split.path(1).unlink()
    os.mkfifo(split.path(1))
    pictures = PictureFiles(split, augment=True, flip=True)
    items = pictures if reader is PictureFiles else JpegFiles(pictures)
    with within(5), pytest.raises(ValueError, match=r"001.jpg cannot be read as an image \(is a named pipe"):
        items[1, 0]


def test_jpeg_files_under_all_their_names_are_read(tmp_path):
    for name in ("a.jfif", "b.JPE", "c.jpeg"):
        (tmp_path / name).write_bytes(encoded(Image.new("RGB", (16, 16), (200, 200, 200)), "JPEG"))
        assert read_rgb(tmp_path / name).getpixel((0, 0)) == (200, 200, 200)

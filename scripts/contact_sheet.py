"""Draw the contact sheet of Glyphs-100: every class with a few pictures and its name.

python scripts/contact_sheet.py sheet.png --level standard --split train
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from normkd_explore.data.glyphs.alphabet import CHARACTERS, READABLE_NAMES, face_path
from normkd_explore.data.glyphs.render import FACES, IMAGE_SIZE, LEVELS, render_glyph

PAPER, INK, QUIET = (250, 249, 246), (34, 34, 38), (120, 120, 128)
COLUMNS, GAP, LABEL_HEIGHT, MARGIN, TITLE_HEIGHT = 10, 14, 22, 28, 64


def draw_sheet(level: str, split: str, seed: int, samples: int, zoom: int) -> Image.Image:
    """Draw the classes in a grid, each as a strip of ``samples`` pictures above its character and name."""
    cell = IMAGE_SIZE * zoom
    width, height = samples * (cell + 2) - 2, cell + LABEL_HEIGHT
    rows = -(-len(CHARACTERS) // COLUMNS)
    size = (
        2 * MARGIN + COLUMNS * (width + GAP) - GAP,
        2 * MARGIN + TITLE_HEIGHT + rows * (height + GAP) - GAP,
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    title, caption = (
        ImageFont.truetype(face_path("DejaVuSans-Bold"), 26),
        ImageFont.truetype(face_path("DejaVuSans"), 13),
    )
    draw.text((MARGIN, MARGIN - 4), f"Glyphs-100, level {level}", fill=INK, font=title)
    facts = f"{split} split, seed {seed}, {len(FACES[split])} faces, {len(CHARACTERS)} classes"
    draw.text((MARGIN, MARGIN + 30), facts, fill=QUIET, font=caption)
    for label, character in enumerate(CHARACTERS):
        row, column = divmod(label, COLUMNS)
        x, y = MARGIN + column * (width + GAP), MARGIN + TITLE_HEIGHT + row * (height + GAP)
        for sample in range(samples):
            picture = render_glyph(label + sample * len(CHARACTERS), split, LEVELS[level], seed)
            enlarged = Image.fromarray(picture).resize((cell, cell), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (x + sample * (cell + 2), y))
        draw.text((x, y + cell + 3), character, fill=INK, font=caption)
        draw.text((x + 18, y + cell + 3), READABLE_NAMES[character], fill=QUIET, font=caption)
    return sheet


def main() -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="PNG file to write")
    parser.add_argument("--level", choices=LEVELS, default="standard")
    parser.add_argument("--split", choices=FACES, default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=4, help="pictures a class")
    parser.add_argument("--zoom", type=int, default=1, help="screen pixels per picture pixel")
    options = parser.parse_args()
    sheet = draw_sheet(options.level, options.split, options.seed, options.samples, options.zoom)
    sheet.save(options.path)
    print(f"{options.path}: {sheet.width}x{sheet.height} pixels")


if __name__ == "__main__":
    main()

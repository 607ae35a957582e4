"""Export the site: an article with living figures in front, the notebooks and the documents behind it.

    python scripts/build_site.py                          everything into site/
    python scripts/build_site.py 02_normkd_training       the article, the documents and one notebook
    python scripts/build_site.py --article                no notebook
    python scripts/build_site.py --folder pages           into another folder

Each notebook is run once. Its page holds the state of its widgets and the data of its figures; a small script gives
them to the widgets' own modules. Pictures stand in their place where scripts do not run. The pages work from any static
server and straight from the disk, without a kernel and without a network.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.build_notebooks import NOTEBOOKS, execute  # noqa: E402
from scripts.site.front import write_front  # noqa: E402
from scripts.site.outputs import collect, stored_pictures  # noqa: E402
from scripts.site.pages import Contents, docs_files, docs_titles, write_docs, write_page, write_shared  # noqa: E402
from scripts.site.text import first_words  # noqa: E402


def build(sources: Iterable[Path], folder: Path, address: str = "") -> None:
    """Write the shared files, the documents, the article, and run the notebooks and write their pages."""
    folder.mkdir(parents=True, exist_ok=True)
    notebooks = {source.stem: nbformat.read(source, as_version=4) for source in sources}
    words = {name: first_words(notebook, name) for name, notebook in notebooks.items()}
    files = docs_files()
    contents = Contents(tuple((name, title) for name, (title, _) in words.items()), docs_titles(files))
    write_shared(folder)
    write_docs(folder, files, contents)
    started = time.monotonic()
    report(write_front(folder, contents, words, address), started)
    for name, notebook in notebooks.items():
        started = time.monotonic()
        pictures = stored_pictures(notebook)
        execute(notebook)
        report(write_page(folder, notebook, collect(notebook, pictures, name), contents), started)


def report(path: Path, started: float) -> None:
    """Say what was written."""
    print(f"{path.name}  {path.stat().st_size / 1e6:.1f} MB  {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the article, the notebooks and the documents as pages.")
    parser.add_argument("names", nargs="*", help="such as 02_normkd_training; all when left out")
    parser.add_argument("--article", action="store_true", help="no notebook, where none is named")
    parser.add_argument("--folder", type=Path, default=ROOT / "site", help="where the pages go (default: site)")
    parser.add_argument("--address", default="", help="where it will stand, such as https://name.org/normkd/")
    args = parser.parse_args()
    everything = [] if args.article else sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    sources = [NOTEBOOKS / f"{Path(name).stem}.ipynb" for name in args.names] or everything
    for source in sources:
        if not source.exists():
            sys.exit(f"{source.relative_to(ROOT)} does not exist; `make notebooks` builds it")
    build(sources, args.folder, args.address)


if __name__ == "__main__":
    main()

"""Files made to mislead, to hang or to harm, given to every reader; how each attempt ended.

`python -m benchmarks.hostile_files [--few]` writes some hundred files into a temporary folder and reads each in a
process of its own kind, which is killed after a time limit and whose memory is watched. An attempt ends well if the
file is refused in one line that names it, or read (a flipped bit may leave a picture that is as good as any). It ends
badly with any other error, a second line, silence, a gigabyte more of memory, a program that ran, or a decoder that was
never announced.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from PIL import EpsImagePlugin

from benchmarks.hostile_kinds import MADE, write_images, write_logits, write_pickles, write_weights
from normkd_explore.analysis.logit_files import load_logits
from normkd_explore.data.read import read_rgb
from normkd_explore.data.safe_pickle import read_pickle
from normkd_explore.models import load_checkpoint
from normkd_explore.models.origin import read_origin

LIMIT = 30.0  # seconds for one file, on a machine with other work
MEMORY = 2**30  # bytes more than before
GOOD = ("refused", "read")


def load_weights(path: Path) -> None:
    """Both things that are read of a weight file."""
    read_origin(path)
    load_checkpoint("resnet8", path, num_classes=5)


KINDS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path], object], tuple[type[Exception], ...]]] = {
    "images": (write_images, read_rgb, (ValueError, FileNotFoundError)),
    "weights": (write_weights, load_weights, (ValueError, OSError)),
    "logits": (write_logits, load_logits, (ValueError, OSError)),
    "CIFAR's pickles": (write_pickles, read_pickle, (Exception,)),  # whose caller names the file
}


def reader(kind: str, work: Connection) -> None:
    """Read the files whose paths come, and say of each how it ended."""
    _, read, expected = KINDS[kind]
    torch.set_num_threads(1)
    EpsImagePlugin.Ghostscript = partial(os._exit, 3)  # nothing unannounced may be opened
    while (path := work.recv()) is not None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read(path)
            ended = "read"
        except expected as error:
            text = str(error)
            named = kind == "CIFAR's pickles" or path.name in text
            lines = len(text.splitlines())
            ended = (
                "refused" if named and (lines == 1 or "do not fit" in text) else f"WRONG: {lines} lines: {text[:200]}"
            )
        except BaseException as error:
            ended = f"WRONG: {type(error).__name__}: {str(error)[:200]}"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        work.send(f"WRONG: took {grown / 2**20:,.0f} MiB" if grown > MEMORY else ended)


class Reader:
    """A process that reads, begun again after one that had to be killed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._begin()

    def _begin(self) -> None:
        self.ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=reader, args=(self.kind, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def read(self, path: Path) -> str:
        """How it ended."""
        self.ours.send(path)
        try:
            if self.ours.poll(LIMIT):
                return str(self.ours.recv())
            ended = f"WRONG: no answer within {LIMIT:g} s"
        except EOFError:
            ended = "WRONG: the process ended, or another program was started"
        self.process.kill()
        self._begin()
        return ended

    def end(self) -> None:
        """Let the process go."""
        self.ours.send(None)
        self.process.join()


def attempts(kind: str, folder: Path, flips: int) -> Iterator[tuple[Path, str]]:
    """Every file of a kind, and how reading it ended."""
    folder.mkdir()
    KINDS[kind][0](folder, flips)
    process = Reader(kind)
    for path in sorted(folder.iterdir()):
        ended = process.read(path)
        if (folder.parent / MADE).exists():
            ended = "WRONG: its program ran"
            (folder.parent / MADE).unlink()
        yield path, ended
    process.end()


def main(arguments: list[str] | None = None) -> int:
    """Print how many files of each kind ended how; the number of bad ends is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", action="store_true", help="fewer damaged files, for a test")
    flips = 3 if parser.parse_args(arguments).few else 40
    multiprocessing.set_start_method("spawn", force=True)
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)  # where a program would make its file
        for kind in KINDS:
            counts: Counter[str] = Counter()
            for path, ended in attempts(kind, Path(place) / kind, flips):
                counts["bad" if ended not in GOOD else ended] += 1
                if ended not in GOOD:
                    bad.append(f"{kind}: {path.name}: {ended}")
            print(f"{kind:16} {counts.total():4} files: {counts['refused']} refused, {counts['read']} read, ", end="")
            print(f"{counts['bad']} ended badly", flush=True)
        os.chdir("/")
    print("\n".join(bad))
    return len(bad)


if __name__ == "__main__":
    sys.exit(main())

"""CelebA's own lists: list_attr_celeba.txt, with the split of list_eval_partition.txt beside it.

The first line says how many pictures there are, the second names the attributes; then a picture a
line, each attribute 1 or -1. Pictures lie in `img_align_celeba/`, in the list's folder or --root.
"""

from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from pipeline.sources.compressed import open_listing
from pipeline.sources.paths import Found, as_local
from pipeline.sources.request import Request
from pipeline.sources.table import BadRow, Rows, Table
from schemas.errors import SourceError
from schemas.text import decode_text

LIST, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
PICTURES = "img_align_celeba"
# Where the partition lies: beside the list, or as in the published folders.
_BESIDE = ("", "../Eval/")


class CelebA(Table):
    """The list of attributes: a column each, 1 where it is so and 0 where it is not."""

    name = "CelebA's list of attributes"
    expected = f"{LIST} of CelebA"
    suffixes = frozenset([".txt"])

    def claims(self, files: Sequence[Found], request: Request) -> list[Found]:
        """Return the list, by its name."""
        return [file for file in files if file.name.rpartition("/")[2] == LIST]

    def rows(self, file: Found) -> Rows:
        """Open the list, and the partition.

        Raises:
            SourceError: it is not what its name says, or the partition is not there.
        """
        lines = _lines(file)
        if len(lines) < 2 or not lines[0].strip().isdigit():
            raise SourceError(
                f"{file.name}: expected the number of pictures in the first line and the "
                "attributes' names in the second, as CelebA's own list has them"
            )
        names = tuple(lines[1].split())
        splits = _splits(file)
        return Rows(("path", *names, "split"), lambda text: _rows(lines[2:], names, splits, text))


def _rows(
    lines: Sequence[str], names: Sequence[str], splits: dict[str, int], text: Set[str]
) -> Iterator[dict[str, Any] | BadRow]:
    for number, line in enumerate(lines, start=3):
        if not line.strip():
            continue
        picture, *values = line.split()
        if len(values) != len(names) or set(values) - {"1", "-1"}:
            yield BadRow(f"line {number}: expected {len(names)} times 1 or -1 after the name")
            continue
        said: dict[str, Any] = {
            name: str(int(value == "1")) if name in text else int(value == "1")
            for name, value in zip(names, values, strict=True)
        }
        yield {"path": f"{PICTURES}/{picture}", **said, "split": splits.get(picture)}


def _lines(file: Found) -> list[str]:
    with open_listing(file) as raw:
        return decode_text(raw.read()).splitlines()


def _splits(file: Found) -> dict[str, int]:
    """Return each picture's split: 0 training, 1 validation, 2 test."""
    local = as_local(file.uri)
    if local is None:
        raise SourceError(f"{file.uri}: CelebA's lists are read from a local folder; copy them")
    folder = local.rpartition("/")[0]
    for place in _BESIDE:
        try:
            lines = Path(f"{folder}/{place}{PARTITION}").read_text(encoding="utf-8").splitlines()
            return {name: int(split) for name, split in map(str.split, lines)}
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise SourceError(f"{PARTITION} beside {file.name}: {error}") from None
    raise SourceError(f"no {PARTITION} beside {file.name}; it says of which split each picture is")


FORMAT = CelebA()

"""Digests of what lies outside of a warehouse: checkpoints and data sets, by their bytes."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.masks.registry import Labelled
from schemas.manifest import digest
from warehouse.files.atomic import sha256_file


def checkpoint_digest(model: str, pretrained: str) -> str:
    """Return the digest of a model: of its files' bytes where it has files, else of its names.

    Moved or renamed files are the same model; other bytes under the same path are another one.
    """
    return digest([_named_or_bytes(given) for given in (model, pretrained)])


def _named_or_bytes(given: str) -> str:
    path = Path(given.removeprefix("local-dir:"))
    return files_digest([path]) if path.exists() else given


def data_digest(data: Labelled) -> str:
    """Return the digest of a data set with masks: of all files at the paths that it holds.

    Raises:
        ValueError: it holds none, so that nobody could tell whether its masks have changed.
    """
    paths = [path for value in vars(data).values() for path in _paths(value)]
    if not paths:
        raise ValueError(f"{type(data).__name__} holds no path: what its masks are is not known")
    return digest([files_digest(paths), data.keys, data.labels, data.classes])


def _paths(value: object) -> list[Path]:
    """Return the paths in a value: itself, or those of a tuple or list."""
    if isinstance(value, Path):
        return [value]
    return (
        [path for one in value for path in _paths(one)] if isinstance(value, (tuple, list)) else []
    )


def files_digest(paths: list[Path]) -> str:
    """Return the digest of files, and of folders with all that is in them, by name and bytes.

    Names count from the folder, and single files by their order, so that all may be moved.
    """
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            found += [(p.relative_to(path).as_posix(), p) for p in inside]
        else:
            found.append(("", path))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sums = list(pool.map(_sum, [path for _, path in found]))
    return hashlib.sha256(
        digest([[name, one] for (name, _), one in zip(found, sums, strict=True)]).encode()
    ).hexdigest()


def _sum(path: Path) -> str:
    """Return a file's sha256; of one that is missing, which becomes a reject, that."""
    try:
        return sha256_file(path)
    except OSError:
        return "cannot be read"

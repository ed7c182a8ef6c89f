"""Listing a source: find out its kind, list its pictures, in one order for every run."""

from dataclasses import dataclass

from pipeline.sources import folder, parquet, table, tars
from pipeline.sources.paths import PICTURE_SUFFIXES, Tree, suffix_of, tree_of
from pipeline.sources.request import Request
from schemas.errors import HeadAtlasError, SourceError
from schemas.members import Member


@dataclass(frozen=True)
class Listing:
    """The pictures of a source.

    Attributes:
        kind: what the source turned out to be, in words.
        members: sorted by key; rows of a Parquet file by their number.
        ignored: files of other kinds that were passed over.
    """

    kind: str
    members: tuple[Member, ...]
    ignored: int = 0


def list_members(
    source: str,
    *,
    labels: str | None = None,
    path_column: str | None = None,
    root: str | None = None,
) -> Listing:
    """List the pictures of a folder, a listing, webdataset tars, or Parquet with image bytes.

    The kind is chosen by the path; for a folder by what it holds (pictures, else tars, else
    Parquet), for Parquet by its columns. No picture is read.

    Raises:
        SourceError: there is nothing there, no picture in it, or it cannot be read.
        DuplicateKey: two pictures have the same key.
        UsageError: an option names a column that is not there, or has no meaning here.
    """
    request = Request(source, labels, path_column, root)
    try:
        tree = tree_of(source)
        kind, members, taken = _members(tree, request)
    except HeadAtlasError:
        raise
    except Exception as error:
        # file systems and file formats raise almost anything; the person needs the one line
        if isinstance(error, OSError) or "://" in source:
            raise SourceError(f"cannot read {source}: {_one_line(error)}") from error
        raise
    if not members:
        raise SourceError(_nothing(source, tree))
    files = len(tree.pictures) + len(tree.tars) + len(tree.parquets) + sum(tree.others.values())
    return Listing(kind, tuple(members), files - taken)


def _members(tree: Tree, request: Request) -> tuple[str, list[Member], int]:
    """Return the kind in words, the members in order, and how many of the files were used."""
    if tree.pictures:
        if suffix_of(request.source) in PICTURE_SUFFIXES and len(tree.pictures) == 1:
            raise SourceError(f"{request.source} is one picture; give the folder that holds it")
        return "folder of pictures", folder.members(tree.pictures, request), len(tree.pictures)
    if tree.tars:
        return "webdataset tars", tars.members(tree.tars, request), len(tree.tars)
    if tree.parquets:
        column = parquet.image_column(tree.parquets[0], request.path_column)
        if column is not None:
            found = parquet.members(tree.parquets, column, request)
            return "Parquet with image bytes", found, len(tree.parquets)
        return "Parquet listing", table.members(tree.parquets, request), len(tree.parquets)
    if len(tree.listings) == 1 and sum(tree.others.values()) == 1:
        file = tree.listings[0]
        kind = suffix_of(file.name).split(".")[1].upper()
        return f"{kind} listing", table.members([file], request), 1
    return "", [], 0


def _nothing(source: str, tree: Tree) -> str:
    if tree.tars or tree.parquets:
        return f"no picture in {source}: {len(tree.tars + tree.parquets)} files without any"
    if any(suffix.startswith(".tar.") or suffix == ".tgz" for suffix in tree.others):
        return f"{source} has compressed tars, which cannot be read at random; decompress them"
    if not tree.others:
        return f"no picture in {source}: it is empty"
    if len(tree.listings) == sum(tree.others.values()) == 1:
        return f"no picture in {source}: it has no rows"
    total = sum(tree.others.values())
    met = ", ".join(f"{count:,} {suffix}" for suffix, count in tree.others.most_common(5))
    return (
        f"no picture in {source}: {total:,} file{'s' if total > 1 else ''} of other kinds ({met}); "
        "expected a folder of pictures (jpg, png, webp, gif, bmp, tiff, ...), a .csv, .tsv, "
        ".jsonl or .parquet listing, webdataset .tar files, or .parquet with image bytes"
    )


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

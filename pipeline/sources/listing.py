"""Listing a source: find out its format, list its pictures, in one order for every run."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from pipeline.sources.base import Format
from pipeline.sources.paths import Found
from pipeline.sources.registry import formats
from pipeline.sources.request import Request
from pipeline.sources.tree import Tree, tree_of
from schemas.errors import HeadAtlasError, SourceError
from schemas.members import Member
from schemas.text import how_many

Claim = tuple[Format, list[Found]]


@dataclass(frozen=True)
class Listing:
    """The pictures of a source.

    Attributes:
        kind: what the source turned out to be, in words.
        members: sorted by key; rows of a Parquet file by their number.
        passed_over: what is no picture of it, by suffix or in words, and how often.
        notes: what a person ought to know of how the source was read.
    """

    kind: str
    members: tuple[Member, ...]
    passed_over: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> list[str]:
        """Lines that a person ought to see: the notes, and what was passed over."""
        total = self.passed_over.total()
        if not total:
            return list(self.notes)
        return [*self.notes, f"passed over {total:,}: {_counts(self.passed_over)}"]


def list_members(
    source: str,
    *,
    labels: str | None = None,
    path_column: str | None = None,
    root: str | None = None,
) -> Listing:
    """List the pictures of a source of any format in this package.

    Its files are offered to each format; the one that takes any of them lists its pictures. No
    picture is read.

    Raises:
        SourceError: there is nothing there, no picture in it, pictures of two formats, or it
            cannot be read.
        DuplicateKey: two pictures have the same key.
        UsageError: an option names a column that is not there, or has no meaning here.
    """
    request = Request(source, labels, path_column, root)
    try:
        tree = tree_of(source)
        claim = _claim(tree, request)
        members = claim[0].members(claim[1], request) if claim else []
    except HeadAtlasError:
        raise
    except Exception as error:
        # file systems and file formats raise almost anything; the person needs the one line
        if isinstance(error, OSError) or "://" in source:
            raise SourceError(f"cannot read {source}: {_one_line(error)}") from error
        raise
    if claim is None or not members:
        raise SourceError(_nothing(source, tree, claim))
    passed = request.passed_over + _others(tree, claim[1])
    if tree.written:
        request.notes.append(f"passed over what HeadAtlas wrote: {_names(tree.written)}")
    return Listing(claim[0].name, tuple(members), passed, tuple(request.notes))


def _claim(tree: Tree, request: Request) -> Claim | None:
    """Return the one format that takes files of the source, with those files.

    Raises:
        SourceError: several do; the message names two of them and how to choose.
    """
    claims: list[Claim] = []
    for one in formats():
        having = sorted(one.suffixes & tree.by_suffix.keys())
        files = [file for suffix in having for file in tree.by_suffix[suffix]]
        taken = one.claims(files, request) if files else []
        if taken and (not one.only_named or tree.named or len(taken) == len(tree) == 1):
            claims.append((one, sorted(taken, key=lambda file: file.name)))
    if len(claims) > 1:
        raise SourceError(_mixed(request.source, claims))
    return claims[0] if claims else None


def _mixed(source: str, claims: Sequence[Claim]) -> str:
    found, patterns = [], []
    for one, files in claims:
        found.append(f"a {one.name} ({how_many(len(files), 'file')}, as {files[0].name})")
        suffix = "." + files[0].name.rpartition(".")[2]
        patterns.append(f"'{source.rstrip('/')}/**/*{suffix}'")
    return (
        f"{source} holds {' and '.join(found)}; which of them is the source? Give its own folder, "
        f"or a pattern in quotes, as {' or '.join(patterns)}"
    )


def _others(tree: Tree, taken: Sequence[Found]) -> Counter[str]:
    """Count the files that were not taken, by suffix."""
    names = {file.name for file in taken}
    counts: Counter[str] = Counter()
    for suffix, files in tree.by_suffix.items():
        left = sum(file.name not in names for file in files)
        if left:
            counts[suffix or "without suffix"] += left
    if tree.hidden:
        counts["hidden"] += tree.hidden
    return counts


def _counts(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{count:,} {what}" for what, count in ordered[:12])
    return listed + (f", ... ({len(counts)} kinds)" if len(counts) > 12 else "")


def _names(written: Set[str]) -> str:
    return ", ".join(sorted(written)[:6]) + (", ..." if len(written) > 6 else "")


def _nothing(source: str, tree: Tree, claim: Claim | None) -> str:
    if claim is not None:
        one, files = claim
        if one.only_named:
            return f"no picture in {source}: it has no rows"
        return f"no picture in {source}: {how_many(len(files), 'file')} without any"
    if any(suffix.startswith(".tar.") or suffix == ".tgz" for suffix in tree.by_suffix):
        return f"{source} has compressed tars, which cannot be read at random; decompress them"
    if not len(tree):
        wrote = f"it holds {_names(tree.written)} alone, which HeadAtlas wrote"
        return f"no picture in {source}: {wrote if tree.written else 'it is empty'}"
    total = len(tree)
    met = _counts(Counter({s or "without suffix": len(f) for s, f in tree.by_suffix.items()}))
    expected = ", ".join(dict.fromkeys(one.expected for one in formats()))
    return (
        f"no picture in {source}: {total:,} file{'s' if total > 1 else ''} of other kinds ({met}); "
        f"expected {expected}"
    )


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

"""Reading a stored picture again, from what the warehouse keeps of it: key, uri, fingerprint.

Where in its container a picture lies is part of its fingerprint. A container that was rewritten
may hold another picture there, which must not be shown for this one.
"""

import re
import tarfile

from pipeline.pictures.decode import Rejected
from pipeline.sources.parquet import COLUMN_MARK
from pipeline.sources.paths import PARQUET_SUFFIXES, TAR_SUFFIXES, suffix_of, version_of
from pipeline.sources.reader import Reader
from schemas.members import Member

# size, mtime, checksum of the header and offset of the bytes, as `tars.members` writes them
_IN_TAR = re.compile(r"(\d+)-(?:-?\d+)-(\d+)-(\d+)")
_CHECKSUM = slice(148, 156)


def read_again(reader: Reader, key: str, uri: str, fingerprint: str) -> bytes:
    """Return the bytes of a picture that was scanned.

    A plain file that was replaced gives what is there now.

    Raises:
        Rejected: it cannot be read, or its tar or Parquet file has changed since.
    """
    container = uri.partition(COLUMN_MARK)[0]
    if suffix_of(container) in TAR_SUFFIXES and (found := _IN_TAR.fullmatch(fingerprint)):
        return _read_tar(reader, key, uri, *map(int, found.groups()))
    row = key.rpartition("#")[2]
    if suffix_of(container) in PARQUET_SUFFIXES and row.isdecimal():
        if not fingerprint.startswith(f"{version_of(container)}-"):
            raise Rejected("read", f"{container} has changed since it was scanned")
        return reader.read(Member(key, uri, fingerprint, offset=int(row)))
    return reader.read(Member(key, uri, fingerprint))


def _read_tar(reader: Reader, key: str, uri: str, size: int, checksum: int, offset: int) -> bytes:
    start = offset - tarfile.BLOCKSIZE
    header = reader.read(Member(key, uri, "", offset=start, size=tarfile.BLOCKSIZE))
    if header[_CHECKSUM].strip(b" \0").lstrip(b"0") != f"{checksum:o}".encode():
        raise Rejected("read", f"{uri} has changed since it was scanned")
    return reader.read(Member(key, uri, "", offset=offset, size=size))

"""Pictures damaged at random, and such as say they are large, as folders, tars and Parquet."""

import io
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.hostile import encoded, hostile_files, png, scene

KINDS = ("folder", "tars", "parquet")
# A side of pictures that are small in bytes and large in pixels, just below what is allowed.
LARGE = 13_370


def mutants(count: int, seed: int = 0, large: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield named pictures: every hostile one, `large` bombs, and damaged copies of both."""
    rng = np.random.default_rng(seed)
    bases = [data for data, _ in hostile_files().values() if data]
    bases += [encoded(scene(300, 200, seed=i), "JPEG", quality=85) for i in range(8)]
    bombs = [make() for make in (_png_bomb, _tiff_bomb, _jpeg_bomb)] if large else []
    for i in range(count):
        if i < large:
            yield f"{i:06d}.png", bombs[i % len(bombs)]
            continue
        data = bytearray(bases[int(rng.integers(len(bases)))])
        for _ in range(int(rng.integers(0, 5))):
            _damage(data, rng)
        yield f"{i:06d}.jpg", bytes(data)


def _damage(data: bytearray, rng: np.random.Generator) -> None:
    """Flip, cut, double, overwrite or lie about a size, in place."""
    if len(data) < 32:
        return
    at = int(rng.integers(len(data)))
    length = int(rng.integers(1, 40))
    match int(rng.integers(6)):
        case 0:
            data[at] ^= 1 << int(rng.integers(8))
        case 1:
            del data[at:]
        case 2:
            data[at:at] = data[at : at + length]
        case 3:
            data[at : at + length] = rng.integers(0, 256, length, np.uint8).tobytes()
        case 4:
            del data[at : at + length]
        case _:
            # a size in the header, big or small end first
            form = ">I" if rng.random() < 0.5 else "<H"
            top = 2**31 if form == ">I" else 2**16
            where = int(rng.integers(0, 28))
            struct.pack_into(form, data, where, int(rng.integers(1, top)))
            if data.startswith(b"\x89PNG") and len(data) > 33:
                struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))


def _png_bomb() -> bytes:
    rows = zlib.compressobj(9)
    body = b"".join([*(rows.compress(bytes(1 + LARGE)) for _ in range(LARGE)), rows.flush()])
    return png(LARGE, LARGE, (b"IDAT", body))


def _tiff_bomb() -> bytes:
    values = np.zeros((LARGE, LARGE), np.float32)
    return encoded(Image.fromarray(values), "TIFF", compression="tiff_lzw")


def _jpeg_bomb() -> bytes:
    return encoded(Image.new("RGB", (LARGE, LARGE), "red"), "JPEG", quality=20)


def write_mutants(root: Path, kind: str, count: int, seed: int = 0, large: int = 0) -> Path:
    """Write mutants as one kind of source; return it. The sources' rows are `count`, each."""
    files = mutants(count, seed, large)
    folder = root / kind
    folder.mkdir(parents=True)
    if kind == "folder":
        for name, data in files:
            (folder / name).write_bytes(data)
    elif kind == "tars":
        each = -(-count // 4)
        for part in range(4):
            with tarfile.open(folder / f"{part}.tar", "w") as tar:
                for _, (name, data) in zip(range(each), files, strict=False):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    else:
        listed = list(files)
        rows = [{"bytes": data, "path": name} for name, data in listed]
        pq.write_table(pa.table({"image": rows}), folder / "0.parquet", row_group_size=500)
    return folder

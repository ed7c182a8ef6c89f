"""Run the benchmarks and print one table: `python -m benchmarks [NAME ...]`."""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks import (
    ablation,
    decode,
    edges,
    effects,
    encode,
    endtoend,
    evaluation,
    explorer,
    half,
    maps,
    match,
    memory,
    mutated,
    nearest,
    nights,
    poison,
    pushing,
    read_out_memory,
    reading,
    roles,
    scheduling,
    searches,
    spans,
    towers,
    world,
)
from benchmarks.rows import Row

ALL: dict[str, Callable[[Path], Iterable[Row]]] = {
    "encode": lambda work: encode.run(),
    "readouts": lambda work: encode.run(encode.READ_OUTS),
    "readout-memory": lambda work: read_out_memory.run(),
    "half": lambda work: half.run(),
    "towers": lambda work: towers.run(),
    "decode": lambda work: decode.run(),
    "mutated": mutated.run,
    "poison": poison.run,
    "spans": spans.run,
    "endtoend": endtoend.run,
    "memory": memory.run,
    "nearest": lambda work: nearest.run(work, 1_000_000),
    "explorer": explorer.run,
    "ablation": ablation.run,
    "edges": lambda work: edges.run(),
    "effects": effects.run,
    "roles": lambda work: roles.run(),
    "evaluate": evaluation.run,
    "nights": nights.run,
    "reading": reading.run,
    "push": pushing.run,
    "maps": lambda work: maps.run(),
    "match": match.run,
    "scheduling": scheduling.run,
    "searches": searches.run,
    "world": lambda work: world.run(),
}


def main(names: list[str]) -> int:
    """Run those named, or all, each in a process of its own; return 1 when a bar is missed."""
    rows_only = "--rows" in names
    names = [name for name in names if name != "--rows"] or list(ALL)
    if unknown := set(names) - ALL.keys():
        sys.stderr.write(f"no benchmark {sorted(unknown)}; there is {', '.join(ALL)}\n")
        return 2
    if rows_only:
        return max(int(_print(name)) for name in names)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {gpu}")
    print(f"{'what':46} {'value':>10}      {'bar':>7}  ok   circumstances", flush=True)
    # one benchmark's memory must not count as another's
    command = [sys.executable, "-m", "benchmarks", "--rows"]
    return max(subprocess.run([*command, name], check=False).returncode for name in names)


def _print(name: str) -> bool:
    """Run one benchmark and print its rows; return whether a bar was missed."""
    missed = False
    with tempfile.TemporaryDirectory(prefix="headatlas-bench-") as work:
        for row in ALL[name](Path(work)):
            bar = "" if row.bar is None else f"{row.bar:g}"
            ok = "yes" if row.ok else "NO"
            print(
                f"{row.name:46} {row.value:10.4g} {row.unit:4} {bar:>7}  {ok:4} {row.note}",
                flush=True,
            )
            missed |= not row.ok
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a command that writes leaves behind: one record in `runs/`, and one row of table `runs`."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.relations import Column, Table

Outcome = Literal["done", "rejects", "refused", "failed", "locked", "interrupted", "unfinished"]
OUTCOMES: Final[dict[int, Outcome]] = {
    0: "done",
    1: "failed",
    2: "refused",
    3: "rejects",
    4: "locked",
    130: "interrupted",
}
"""How a run ended, by its exit code; one without a code is unfinished."""


class RunRecord(BaseModel):
    """runs/TIME-RUN.json: written when a command starts, and again when it ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    run: str = Field(description="The process, as `run` in its JSON lines.")
    command: str = Field(description="Command, as `roles build`.")
    scan_id: str | None = Field(default=None, description="Scan that was written, if one was.")
    started_at: str = Field(description="When it started, ISO 8601, UTC.")
    ended_at: str | None = Field(default=None, description="When it ended, ISO 8601, UTC.")
    seconds: float | None = Field(default=None, description="Wall time.")
    outcome: Outcome = Field(
        default="unfinished",
        description="done; rejects: done, with more rejects than allowed; refused: wrong usage or "
        "configuration; failed; locked: another run was at it; interrupted; unfinished: still "
        "running, or killed.",
    )
    exit_code: int | None = Field(default=None, description="Exit status; none yet: null.")
    images: int | None = Field(default=None, description="Pictures stored, over the whole scan.")
    scanned: int | None = Field(default=None, description="Pictures that the model saw.")
    rejects: int | None = Field(default=None, description="Pictures rejected, over the scan.")
    rate: float | None = Field(default=None, description="Pictures scanned a second, all in all.")
    message: str | None = Field(default=None, description="Why it did not end well.")
    stages: dict[str, float] = Field(
        default={}, description="Seconds of all workers together, by stage; stages overlap."
    )
    counts: dict[str, int | float] = Field(
        default={}, description="Every number that the command's result holds, by name."
    )
    configuration: str = Field(description="Digest of the options, without the warehouse's path.")
    versions: dict[str, str] = Field(description="Of headatlas, Python and libraries.")
    machine: str = Field(description="Name of the machine.")

    def to_json(self) -> str:
        """Return the record as one line."""
        return self.model_dump_json() + "\n"


_TYPES: Final = {
    "started_at": "TIMESTAMP",
    "ended_at": "TIMESTAMP",
    "seconds": "DOUBLE",
    "exit_code": "INTEGER",
    "images": "BIGINT",
    "scanned": "BIGINT",
    "rejects": "BIGINT",
    "rate": "DOUBLE",
}
_SAID: Final = {
    "started_at": "When it started, UTC.",
    "ended_at": "When it ended, UTC.",
    "stages": "Seconds of all workers together by stage, as a JSON object; stages overlap.",
    "counts": "Every number that the command's result holds, as a JSON object.",
    "versions": "Of headatlas, Python and libraries, as a JSON object.",
}

RUNS: Final = Table(
    "runs",
    "table",
    "One row per run of a command that wrote, newest first; the one that published this version is "
    "shown as it stood then.",
    tuple(
        Column(name, _TYPES.get(name, "VARCHAR"), _SAID.get(name, field.description or ""))
        for name, field in RunRecord.model_fields.items()
        if name != "format"
    ),
    "SELECT started_at, command, outcome, scanned, rejects, rate FROM runs ORDER BY started_at "
    "DESC LIMIT 10",
)

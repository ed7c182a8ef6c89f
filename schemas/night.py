"""What `headatlas refresh` says of a night when it ends, as JSON: for schedulers and alarms."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.runs import Outcome


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Throughput(_Part):
    """Pictures a second of one worker's time, loading the model left out."""

    rate: float | None = Field(description="Of this night; null where nothing was scanned.")
    median: float | None = Field(description="Of the last 30 earlier nights that scanned any.")
    ratio: float | None = Field(description="rate / median; 0.5: it took twice as long.")
    nights: int = Field(description="Earlier nights that the median is of.")


class Rejects(_Part):
    """Pictures that could not be used."""

    total: int = Field(description="Over the whole scan.")
    new: int = Field(description="More than before the night; negative where there are fewer.")
    reasons: dict[str, int] = Field(description="How many by reason, the commonest first.")


class Accuracy(_Part):
    """How often labelled pictures are told right, 0..1."""

    before: float | None = Field(description="Before the night; null where it was not known.")
    after: float | None = Field(description="After the night.")


class Drift(_Part):
    """A head whose distribution has moved since the night before."""

    head: str = Field(description="Name of the head, as L22H11.")
    drift: float = Field(description="How far, in its own variance; as `drift` of `head_drift`.")
    mean_shift: float = Field(description="Of which the mean's move, in its own spread.")
    variance_ratio: float = Field(description="Its total variance, now over before.")


class NightSummary(_Part):
    """One night. What the night did not come to is null or empty."""

    format: Literal[1] = Field(default=1, description="Number of this format.")
    run: str = Field(description="The process, as `run` in its JSON lines and in table `runs`.")
    warehouse: str | None = Field(description="Folder of the warehouse.")
    scan: str | None = Field(description="Scan that was brought up to date.")
    started_at: str = Field(description="When the night started, ISO 8601, UTC.")
    ended_at: str = Field(description="When it ended, ISO 8601, UTC.")
    seconds: float = Field(description="Wall time.")
    outcome: Outcome = Field(
        description="done, rejects (more than allowed; the rest is done), refused (a wrong plan), "
        "failed, locked (another run is at it) or interrupted."
    )
    exit_code: int = Field(description="As `headatlas refresh` exits.")
    message: str | None = Field(description="Why it did not end well.")
    images: int | None = Field(description="Pictures stored, over the whole scan.")
    scanned: int | None = Field(description="Pictures that the model saw.")
    vanished: int | None = Field(description="Pictures that are no longer in the source.")
    rejects: Rejects | None = Field(description="Pictures that could not be used.")
    throughput: Throughput | None = Field(description="How fast, beside earlier nights.")
    accuracy: dict[str, Accuracy] = Field(
        description="`zero_shot`: of the labels' own names; `classifiers/NAME`: of a classifier."
    )
    drift: list[Drift] = Field(
        default=[],
        description="Heads that moved by more than the plan's `drift`, most first.",
    )
    made: dict[str, str] = Field(description="Results that were made anew, each with the reason.")
    housekeeping: dict[str, int] = Field(
        description="`merged` (shards fewer by compaction), `shards` (of the scan now), "
        "`deleted_shards`, `deleted_snapshots`, `deleted_runs`, `freed` (bytes)."
    )
    published: int | None = Field(description="Version that was published, if one was.")

    def to_json(self) -> str:
        """Return the summary as indented JSON with a newline at its end."""
        return self.model_dump_json(indent=2) + "\n"

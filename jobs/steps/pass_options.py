"""Options of every pass of a scan's model over pictures: who does it, and with what."""

from pydantic import Field

from schemas.config import Config


class WorkersConfig(Config):
    """Who does the tasks."""

    workers: int | None = Field(
        default=None, ge=0, description="Workers, at most; 0: in this process, without Ray."
    )
    gpus_per_worker: float | None = Field(default=None, ge=0, description="Share of a GPU each.")
    ray_address: str | None = Field(default=None, description="Ray cluster; default: local.")


class PassConfig(WorkersConfig):
    """What a command that makes such a pass takes after its own options."""

    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")

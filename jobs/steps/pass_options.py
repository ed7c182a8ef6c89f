"""Options of every pass of a scan's model over pictures: who does it, with what, anew or not."""

from pydantic import Field

from schemas.config import Config


class PassConfig(Config):
    """What a command that makes such a pass takes after its own options."""

    workers: int | None = Field(
        default=None, ge=0, description="Workers, at most; 0: in this process, without Ray."
    )
    gpus_per_worker: float | None = Field(default=None, ge=0, description="Share of a GPU each.")
    ray_address: str | None = Field(default=None, description="Ray cluster; default: local.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")
    restart: bool = Field(default=False, description="Forget the result that is there.")

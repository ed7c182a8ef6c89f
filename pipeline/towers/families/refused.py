"""Image encoders of open_clip's list in which no head writes linearly into the embedding."""

from typing import Any

from open_clip.timm_model import TimmModel

from pipeline.towers.tower import Refused, Tower

REASONS = {
    "ConvNeXt": "a ConvNeXt has no attention heads",
    "FastVit": "in FastViT (MobileCLIP-S) a convolution stands between its heads and the embedding",
    "SwinTransformer": "in Swin, PatchMerging normalises and mixes what heads of a stage write",
}


class NoLinearHeads:
    """Trunks that are known, and known not to decompose."""

    name = "refused"

    def claims(self, visual: Any) -> bool:
        """Whether the trunk is one of these."""
        return type(visual) is TimmModel and type(visual.trunk).__name__ in REASONS

    def tower(self, visual: Any) -> Tower:
        """Refuse it.

        Raises:
            Refused: always, with the reason.
        """
        reason = REASONS[type(visual.trunk).__name__]
        raise Refused(f"{reason}: no head writes linearly into the embedding")


FAMILY = NoLinearHeads()

"""Options that commands which draw or score maps share."""

from typing import Annotated

from pydantic import Field

from schemas.config import AbsolutePath

Eclip = Annotated[
    AbsolutePath | None,
    Field(
        description="Checkpoint of ECLIP's two projections, for method eclip: safetensors or torch "
        "file with image.weight and text.weight, and biases if any."
    ),
]
Sam = Annotated[
    AbsolutePath | None,
    Field(
        description="Folder of a SAM or SAM 2, as save_pretrained of transformers writes it (extra "
        "sam): it makes a mask of each map's points."
    ),
]

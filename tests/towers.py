"""Small image towers with every option that the decomposition supports, biases not zero."""

import torch
from open_clip.model import CLIP
from torch import nn

TEXT = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
VISION = {"layers": 3, "width": 24, "head_width": 8, "patch_size": 4, "image_size": 12}

SUPPORTED = {
    "plain": {},
    "layer scale": {"ls_init_value": 0.3},
    "no ln_pre": {"no_ln_pre": True},
    "average before the last LayerNorm": {"pool_type": "avg", "final_ln_after_pool": True},
    "class token, LayerNorm after pool": {"final_ln_after_pool": True},
    "sin-cos positions": {"pos_embed_type": "sin_cos_2d"},
    "LayerNorm without affine": {"norm_kwargs": {"elementwise_affine": False}},
    "eps": {"norm_kwargs": {"eps": 1e-2}},
    "oblong": {"image_size": (8, 16)},
}


def small_clip(
    *, quick_gelu: bool = False, d_joint: int = 20, seed: int = 0, **vision: object
) -> CLIP:
    """Return a float64 CLIP in evaluation mode, all of its parameters random and not small."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        clip = CLIP(d_joint, {**VISION, **vision}, TEXT, quick_gelu=quick_gelu).double().eval()
        with torch.no_grad():
            for name, parameter in clip.named_parameters():
                if parameter.ndim < 2:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
                elif "in_proj" in name or "out_proj" in name:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
    return clip.requires_grad_(False)


def pixels(clip: nn.Module, n: int = 3, seed: int = 1) -> torch.Tensor:
    """Return n random pictures of the tower's size."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, *clip.visual.image_size, generator=generator, dtype=torch.float64)

"""Small image towers of every other family, all of their parameters random and not small."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from timm.models.eva import Eva, EvaAttention
from timm.models.vision_transformer import ResPostBlock, VisionTransformer
from timm.models.vision_transformer_relpos import ResPostRelPosBlock, VisionTransformerRelPos
from timm.models.vitamin import GeGluMlp
from torch import nn

SIZE = {"img_size": 12, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}
D_JOINT = 20


def joined(trunk: nn.Module, proj: bool = True) -> TimmModel:
    """Put a timm trunk where open_clip puts it, with a projection of its own or none."""
    visual = TimmModel.__new__(TimmModel)
    nn.Module.__init__(visual)
    visual.image_size = (12, 12)
    visual.trunk = trunk
    width = trunk.num_features
    linear = OrderedDict(drop=nn.Dropout(0.0), proj=nn.Linear(width, D_JOINT, bias=True))
    visual.head = nn.Sequential(linear if proj else OrderedDict())
    return visual


def _vit(**options: object) -> TimmModel:
    trunk = VisionTransformer(**{**SIZE, "num_classes": 0, **options})
    return joined(trunk, proj=options.get("num_classes", 0) == 0)


def _eva(**options: object) -> TimmModel:
    trunk = Eva(**{**SIZE, "num_classes": D_JOINT, "global_pool": "token", **options})
    return joined(trunk, proj=False)


def _gated() -> TimmModel:
    visual = _eva()
    for block in visual.trunk.blocks:
        block.attn = EvaAttention(24, 3, scale_norm=False, gated=True)
    return visual


def _relpos(**options: object) -> TimmModel:
    return joined(VisionTransformerRelPos(**{**SIZE, "num_classes": 0, **options}))


PE = {
    "global_pool": "map",
    "attn_type": "rope",
    "use_pre_transformer_norm": True,
    "use_rot_pos_emb": True,
    "ref_feat_shape": (3, 3),
    "rope_grid_offset": 1.0,
    "rope_grid_indexing": "xy",
    "attn_pool_num_heads": 4,
    "attn_pool_mlp_ratio": 2.0,
    "init_values": 0.1,
}

FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "timm token": partial(_vit, class_token=True, global_pool="token"),
    "timm token, LayerScale, registers": partial(_vit, init_values=0.3, reg_tokens=2),
    "timm token, any size": partial(_vit, dynamic_img_size=True, img_size=20),
    "timm average, norm after (ViTamin)": partial(
        _vit, class_token=False, global_pool="avg", mlp_layer=GeGluMlp
    ),
    "timm average, norm before": partial(_vit, global_pool="avg", fc_norm=False),
    "timm average with the class token": partial(
        _vit, global_pool="avg", fc_norm=False, pool_include_prefix=True
    ),
    "timm map (SigLIP)": partial(_vit, class_token=False, global_pool="map"),
    "timm map, norm and projection after": partial(
        _vit, class_token=False, global_pool="map", fc_norm=True, num_classes=D_JOINT
    ),
    "timm map, heads of 24, qk-norm, LayerScale": partial(
        _vit,
        class_token=False,
        global_pool="map",
        embed_dim=72,
        qk_norm=True,
        init_values=0.7,
        act_layer="gelu_tanh",
    ),
    "timm qk-norm, inner norm": partial(
        _vit, qk_norm=True, scale_attn_norm=True, scale_mlp_norm=True
    ),
    "timm norm after each part": partial(_vit, block_fn=ResPostBlock),
    "timm norm after each part, average before": partial(
        _vit, block_fn=ResPostBlock, global_pool="avg", fc_norm=False
    ),
    "timm norm after each part, map": partial(
        _vit, block_fn=ResPostBlock, global_pool="map", class_token=False
    ),
    "EVA01": partial(_eva),
    "EVA, rotation": partial(_eva, use_rot_pos_emb=True, ref_feat_shape=(3, 3)),
    "EVA02, inner norm, rotation": partial(
        _eva,
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(3, 3),
    ),
    "EVA, rotation of DINOv3, any size": partial(
        _eva,
        attn_type="rope",
        rope_type="dinov3",
        rope_rotate_half=True,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        dynamic_img_size=True,
        num_reg_tokens=2,
        init_values=0.3,
    ),
    "EVA02, heads of 20, registers, LayerScale": partial(
        _eva,
        embed_dim=60,
        qkv_fused=False,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(3, 3),
        num_reg_tokens=2,
        init_values=0.4,
    ),
    "EVA02-E, norm after": partial(_eva, use_post_norm=True, qkv_fused=True),
    "EVA, inner norm and norm after": partial(_eva, use_post_norm=True, scale_attn_inner=True),
    "EVA, gated": _gated,
    "PE": partial(_eva, **PE),
    "PE without class token": partial(_eva, **PE, class_token=False),
    "relative positions, class token": partial(
        _relpos, class_token=True, global_pool="token", init_values=0.3
    ),
    "relative positions, average": partial(_relpos, global_pool="avg", shared_rel_pos=True),
    "relative positions, norm after": partial(
        _relpos, global_pool="avg", block_fn=ResPostRelPosBlock, fc_norm=True
    ),
    "CLIP ResNet": partial(
        ModifiedResNet, layers=[1, 1, 1, 1], output_dim=D_JOINT, heads=8, image_size=64, width=1 * 4
    ),
}


def small_visual(name: str, seed: int = 0) -> nn.Module:
    """Return a float64 tower in evaluation mode, its biases, norms and scales not trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        visual = FAMILIES[name]().double().eval()
        with torch.no_grad():
            for parameter in visual.parameters():
                noise = torch.randn_like(parameter) * 0.3
                parameter.copy_(parameter + noise if parameter.ndim < 2 else noise)
            for module in visual.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_()
    return visual.requires_grad_(False)


def pictures(visual: nn.Module, n: int = 3, seed: int = 1) -> torch.Tensor:
    """Return n random pictures of the tower's size."""
    generator = torch.Generator().manual_seed(seed)
    side = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    return torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64)

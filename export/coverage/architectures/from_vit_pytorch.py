"""Vision transformers by vit-pytorch, one for each of the package's files of two-dimensional classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from torch import nn

from export.coverage.architectures.architecture import CLASSES, Architecture, FirstOutput

PLAIN = {"patch_size": 8, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64, "dim_head": 16}
"""Arguments of most classes; a class is given those that it has."""
STAGES = {
    f"s{stage}_{name}": value for stage in (1, 2, 3, 4) for name, value in (("depth", 1), ("emb_dim", 16 * stage))
}
LOCAL = {f"s{stage}_{name}": 2 for stage in (1, 2, 3) for name in ("global_k", "local_patch_size")}

NETWORKS: dict[str, dict[str, Any]] = {
    "vit.ViT": {},
    "simple_vit.SimpleViT": {},
    "simple_uvit.SimpleUViT": {},
    "simple_vit_with_fft.SimpleViT": {"freq_patch_size": 8},
    "simple_vit_with_hyper_connections.SimpleViT": {"num_residual_streams": 2},
    "simple_vit_with_patch_dropout.SimpleViT": {},
    "simple_vit_with_register_tokens.SimpleViT": {},
    "simple_vit_with_relative_proj_pos_bias.SimpleViT": {},
    "simple_vit_with_sparse_gating.SimpleViTWithSparseGating": {},
    "simple_vit_with_specialized_cls.SimpleViT": {},
    "simple_vit_with_value_residual.SimpleViT": {},
    "simple_vit_attn_residual.SimpleViTAttnResidual": {},
    "simple_vit_orthog_residual_update.SimpleViT": {},
    "attn_residual_with_dca_simple_vit.SimpleViT": {},
    "ats_vit.ViT": {"max_tokens_per_depth": (12, 8)},
    "cait.CaiT": {"cls_depth": 1},
    "cct.CCT": {
        "img_size": 32,
        "embedding_dim": 32,
        "num_layers": 2,
        "num_heads": 2,
        "n_conv_layers": 1,
        "kernel_size": 7,
        "stride": 2,
        "padding": 3,
        "pooling_kernel_size": 3,
        "pooling_stride": 2,
        "pooling_padding": 1,
        "mlp_ratio": 2.0,
    },
    "cross_vit.CrossViT": {
        "sm_dim": 32,
        "lg_dim": 48,
        "sm_patch_size": 8,
        "lg_patch_size": 16,
        "sm_enc_heads": 2,
        "sm_enc_mlp_dim": 64,
        "sm_enc_dim_head": 16,
        "lg_enc_depth": 1,
        "lg_enc_heads": 2,
        "lg_enc_mlp_dim": 64,
        "lg_enc_dim_head": 16,
        "cross_attn_depth": 1,
        "cross_attn_heads": 2,
        "cross_attn_dim_head": 16,
    },
    "crossformer.CrossFormer": {
        "image_size": 64,
        "dim": (32, 32, 64, 64),
        "depth": (1, 1, 1, 1),
        "local_window_size": 2,
        "global_window_size": (4, 2, 2, 1),
    },
    "cvt.CvT": {**STAGES, "s3_depth": 2, "image_size": 64},
    "deepvit.DeepViT": {},
    "jet_vit.JetViT": {},
    "jumbo_vit.JumboViT": {},
    "learnable_memory_vit.ViT": {},
    "levit.LeViT": {
        "image_size": 64,
        "dim": (16, 24, 32),
        "depth": 1,
        "heads": (2, 2, 2),
        "mlp_mult": 2,
        "dim_key": 8,
        "dim_value": 16,
    },
    "look_vit.LookViT": {
        "patch_size": 16,
        "highres_patch_size": 8,
        "cross_attn_heads": 2,
        "cross_attn_dim_head": 16,
    },
    "looped_vit.LoopedViT": {"pre_loop_depth": 1, "num_looped_blocks": 1, "post_loop_depth": 1, "loop_depth": 2},
    "max_vit.MaxViT": {"image_size": 64, "depth": (1, 1), "window_size": 4, "dim_conv_stem": 16},
    "max_vit_with_registers.MaxViT": {"image_size": 64, "depth": (1, 1), "window_size": 4, "dim_conv_stem": 16},
    "mobile_vit.MobileViT": {
        "image_size": (64, 64),
        "patch_size": (2, 2),
        "dims": [16, 20, 24],
        "channels": [16, 16, 24, 24, 32, 32, 40, 40, 48, 48, 64],
    },
    "nest.NesT": {"num_hierarchies": 2, "block_repeats": (1, 1), "patch_size": 4},
    "normalized_vit.nViT": {},
    "parallel_vit.ViT": {},
    "pit.PiT": {"depth": (1, 1), "patch_size": 8},
    "regionvit.RegionViT": {
        "image_size": 64,
        "dim": (16, 24, 32, 48),
        "depth": (1, 1, 1, 1),
        "window_size": 2,
        "local_patch_size": 4,
    },
    "rvt.RvT": {},
    "scalable_vit.ScalableViT": {
        "image_size": 64,
        "dim": 16,
        "depth": (1, 1, 1, 1),
        "heads": (1, 2, 2, 2),
        "reduction_factor": (4, 2, 1, 1),
        "window_size": (4, 4, None, None),
        "iwsa_dim_key": 8,
        "iwsa_dim_value": 8,
        "ssa_dim_key": 8,
        "ssa_dim_value": 8,
    },
    "sep_vit.SepViT": {"image_size": 112, "dim": 16, "depth": (1, 1, 1), "heads": (1, 2, 2), "dim_head": 16},
    "t2t.T2TViT": {},
    "twins_svt.TwinsSVT": {**STAGES, **LOCAL, "image_size": 64, "s4_local_patch_size": 1, "s4_global_k": 2},
    "vit_5.ViT": {},
    "vit_detpool.ViTDetPool": {},
    "vit_for_small_dataset.ViT": {},
    "vit_with_decorr.ViT": {},
    "vit_with_keel_post_ln.ViT": {},
    "vit_with_patch_dropout.ViT": {},
    "vit_with_patch_merger.ViT": {"patch_merge_layer": 1, "patch_merge_num_tokens": 4},
    "xcit.XCiT": {"cls_depth": 1},
}


SIZES = {name: 64 for name, given in NETWORKS.items() if given.get("image_size") in (64, (64, 64))}
SIZES["sep_vit.SepViT"] = 112


def _make(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    file, kind = name.split(".")
    made: Any = getattr(import_module(f"vit_pytorch.{file}"), kind)
    offered = {**PLAIN, "image_size": image_size, **arguments}
    wanted = signature(made).parameters
    accepts_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted.values())
    given = arguments if accepts_all else {key: value for key, value in offered.items() if key in wanted}
    network: nn.Module = made(num_classes=CLASSES, **given)
    return FirstOutput(network) if name == "vit_with_decorr.ViT" else network


ARCHITECTURES = tuple(
    Architecture("vit_pytorch", name, SIZES.get(name, 32), _make, arguments) for name, arguments in NETWORKS.items()
)

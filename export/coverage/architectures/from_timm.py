"""Classifiers of timm: the smallest member of each family, made shallower or narrower where its constructor allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import timm
from torch import nn

from export.coverage.architectures.architecture import CLASSES, Architecture

Group = tuple[int, dict[str, Any], str]
"""Side of the images in pixels, arguments of the constructor, and timm's names of the networks."""
SHALLOW = (1, 1, 1, 1)
NARROW = {"depth": 2, "embed_dim": 48, "num_heads": 3}
WINDOWS = {"img_size": 64, "depths": SHALLOW, "embed_dim": 24, "num_heads": (1, 2, 4, 8)}

GROUPS: tuple[Group, ...] = (
    (
        64,
        {},
        """
        cpubone_nano csatv2 cspnext_tiny densenet121 dla46_c dpn48b edgenext_xx_small efficientnet_b0
        efficientnet_b0_g16_evos efficientnet_b0_gn efficientnet_cc_b0_4e efficientnet_lite0 efficientnetv2_rw_t
        efficientvim_m1 efficientvit_b0 fasternet_t0 fastvit_t8 fbnetc_100 fbnetv3_b gcresnext26ts gernet_s
        ghostnet_050 ghostnetv2_100 ghostnetv3_050 hgnetv2_b0 iformer_t inception_next_atto lambda_resnet26t
        lcnet_035 lcnetv2_small lowformer_b0 mambaout_femto mixnet_s mnasnet_small mobilenetv2_050
        mobilenetv3_small_050 mobilenetv4_conv_aa_medium mobilenetv4_conv_small mobilenetv4_hybrid_medium
        mobileone_s0 nf_regnet_b0 pvt_v2_b0 regnetx_002 regnety_002 regnetz_005 regnetz_b16_evos repghostnet_050
        repvgg_a0 resnest14d rexnet_100 shvit_s1 starnet_s050 test_nfnet tf_efficientnet_b0
        tf_mobilenetv3_small_minimal_100
        """,
    ),
    (
        32,
        {},
        """
        caformer_s18 convmixer_768_32 ese_vovnet19b_slim focalnet_tiny_srf legacy_xception poolformer_s12
        poolformerv2_s12 rdnet_tiny resnetv2_50x1_bit
        """,
    ),
    (256, {}, "eca_halonext26ts"),
    (240, {}, "crossvit_tiny_240"),
    (
        64,
        {"img_size": 64},
        """
        botnet26t_256 coat_lite_tiny coat_tiny efficientformerv2_s0 efficientvit_m0 gcvit_xxtiny hiera_tiny_224
        levit_128s levit_conv_128s mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny pit_ti_224
        pit_ti_distilled_224 repvit_m0_9 swiftformer_xs test_maxvit visformer_tiny
        """,
    ),
    (
        32,
        {"layers": SHALLOW},
        """
        ecaresnet26t res2net50_14w_8s resnet18 resnet50_gn resnetblur18 resnetrs50 resnetv2_50d_evos
        resnetv2_50d_frn resnext50_32x4d seresnet18 skresnet18
        """,
    ),
    (64, {"layers": SHALLOW}, "fastvit_sa12"),
    (32, {"layers": SHALLOW, "img_size": 32}, "sequencer2d_s"),
    (64, {"depths": SHALLOW}, "convnext_atto convnextv2_atto eca_nfnet_l0 nf_resnet26 pvt_v2_b2_li tiny_vit_5m_224"),
    (64, {"depths": SHALLOW, "img_size": 64}, "coatnet_pico_rw_224 maxxvit_rmlp_nano_rw_256 twins_pcpvt_small"),
    (64, {"depths": SHALLOW, "embed_dims": (16, 24, 32, 48), "img_size": 64}, "twins_svt_small"),
    (224, {"depths": SHALLOW}, "efficientformer_l1"),
    (64, WINDOWS, "swin_tiny_patch4_window7_224 swin_s3_tiny_224 swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224"),
    (
        32,
        {"img_size": 32, **NARROW},
        """
        aimv2_large_patch14_224 beit3_base_patch16_224 beit_base_patch16_224 cait_xxs24_224 convit_tiny
        deit3_small_patch16_224 deit_tiny_distilled_patch16_224 flexivit_small samvit_base_patch16_224 test_vit
        test_vit2 vit_base_patch16_rpn_224 vit_base_patch16_siglip_224 vit_base_patch16_xp_224
        vit_relpos_base_patch16_cls_224 vit_relpos_small_patch16_224 vit_srelpos_small_patch16_224
        vit_tiny_patch16_224
        """,
    ),
    (28, {"img_size": 28, **NARROW}, "vit_base_patch14_reg4_dinov2"),
    (
        32,
        {"img_size": 32, "depth": 2},
        """
        eva02_tiny_patch14_224 tnt_s_patch16_224 vit_pe_core_tiny_patch16_384 vit_small_patch16_dinov3
        vit_small_patch16_rope_224 vit_small_patch16_rope_mixed_224 vit_tiny_r_s16_p8_224 vitamin_small_224
        xcit_nano_12_p16_224
        """,
    ),
    (32, {"img_size": 32}, "gmixer_12_224 gmlp_ti16_224 mixer_s32_224 resmlp_12_224"),
    (64, {"img_size": 64}, "volo_d1_224"),
)


def _make(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES, **arguments)
    return network


def _listed() -> Iterator[Architecture]:
    for image_size, arguments, names in GROUPS:
        for name in names.split():
            yield Architecture("timm", name, image_size, _make, arguments)


ARCHITECTURES = tuple(sorted(_listed(), key=lambda architecture: architecture.name))

"""Answers in the documented shapes, with numbers computed by formulas, on which the plots are tested."""

from __future__ import annotations

from typing import Any

import numpy as np


def gradients(model: str = "resnet20", layers: int = 20, samples: int = 1, decay: float = 0.9) -> dict[str, Any]:
    """An answer of /diagnostics/gradients whose norms fall by `decay` per layer towards the input."""
    rng = np.random.default_rng(0)
    norms = decay ** (layers - 1 - np.arange(layers))[:, None] * np.exp(rng.normal(0, 0.2, (layers, samples)))
    names = ["conv1"] + [f"layer{1 + i // 6}.{i % 6 // 2}.conv{1 + i % 2}" for i in range(layers - 2)] + ["fc"]
    return {
        "model": model,
        "version": "1",
        "bundle": "0123456789ab",
        "execution_provider": "CPUExecutionProvider",
        "request_id": "r",
        "samples": [{"label": "cat", "index": 3, "loss": 0.2, "probability": 0.8}] * samples,
        "layers": [
            {
                "name": name,
                "operator": "Conv",
                "depth": at + 1,
                "shape": [16, 16, 3, 3],
                "parameters": 2304,
                "uses": 1,
                "weight_norm": 4.0,
                "activation_gradient_norm": row.tolist(),
                "weight_gradient_norm": (row * 3).tolist(),
                "scaled_gradient_norm": (row * 5).tolist(),
                "relative_gradient_norm": (row * 10).tolist(),
                "bias_gradient_norm": None,
                "gradient_to_weight_ratio": (row * 0.75).tolist(),
                "batch_gradient_norm": None,
                "dead_fraction": None,
                "verdict": "healthy",
            }
            for at, (name, row) in enumerate(zip(names, norms, strict=True))
        ],
        "other_parameters": [],
        "verdict": {"state": "healthy", "because": "norms stay within 2 decades over 20 layers", "findings": []},
    }


def shattering(model: str = "plain20", points: int = 64) -> dict[str, Any]:
    """An answer of /diagnostics/shattering with a correlation that decays along the path."""
    at = np.arange(points)
    lags = np.arange(16)
    return {
        **{key: gradients(model)[key] for key in ("model", "version", "bundle", "execution_provider", "request_id")},
        "points": points,
        "correlation": np.exp(-np.abs(at[:, None] - at) / 6).tolist(),
        "autocorrelation": {
            "lags": lags.tolist(),
            "mean": np.exp(-lags / 6).tolist(),
            "white": [1.0] + [0.0] * 15,
            "brown": (0.97**lags).tolist(),
        },
        "spectral_exponent": 1.1,
        "verdict": {"state": "smooth", "because": "lag-1 autocorrelation 0.85, white noise 0, brown noise 0.97"},
    }


def scores(samples: int = 3) -> dict[str, Any]:
    """An answer of /diagnostics/scores without labels."""
    return {
        **{key: gradients()[key] for key in ("model", "version", "bundle", "execution_provider", "request_id")},
        "samples": [
            {
                "max_probability": 0.9 - 0.2 * at,
                "energy": -8.0 + at,
                "gradnorm": 12.0 - at,
                "layer_norm_distance": 1.0 + at,
                "margin": 0.8 - 0.3 * at,
                "el2n": None,
                "grand": None,
            }
            for at in range(samples)
        ],
    }


def features(model: str = "resnet20", layers: int = 20) -> dict[str, Any]:
    """An answer of /diagnostics/features whose pictures are all the same black pixel."""
    pixel = (
        "data:image/png;base64,"
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    )
    seen = [
        {
            "name": layer["name"],
            "depth": layer["depth"],
            "height": 32,
            "width": 32,
            "mean": 0.1,
            "variance": 1.0,
            "zero_share": 0.4,
            "channels": [{"channel": at, "peak": 3.0, "picture": pixel} for at in range(8)],
        }
        for layer in gradients(model, layers)["layers"]
    ]
    return {
        **{key: gradients(model)[key] for key in ("model", "version", "bundle", "execution_provider", "request_id")},
        "samples": [
            {
                "predicted_label": "cat",
                "predicted_index": 3,
                "layers": seen,
                "saliency": {"norm": 1.0, "picture": pixel},
            }
        ],
    }

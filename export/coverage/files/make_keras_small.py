"""Makes keras_small.onnx and keras_small.json: a Keras network by tf2onnx, and TensorFlow's own gradient norms.

Not part of the project's environments; run it in one of its own:

    pip install tensorflow-cpu tf2onnx && python make_keras_small.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

HERE = Path(__file__).parent
SIZE, CLASSES, SAMPLES = 24, 5, 3


def network() -> keras.Model:
    """Channels last; what Keras's own classifiers are made of, and a Softmax at the end."""
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = shortcut = layers.ReLU(max_value=6.0, name="stem_relu6")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Activation("swish", name="swish")(x)
    x = layers.Conv2D(8, 1, name="pointwise")(x)
    x = layers.Add(name="shortcut")([x, shortcut])
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(x)
    x = layers.SeparableConv2D(12, 3, strides=2, name="separable")(x)
    x = layers.LeakyReLU(negative_slope=0.1, name="leaky")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = layers.Dense(10, activation="elu", name="hidden")(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(x))


def main() -> None:
    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    model = network()
    for variable in model.weights:  # scales and statistics that differ from channel to channel
        value = variable.numpy()
        if value.ndim == 1:
            positive = "gamma" in variable.name or "variance" in variable.name
            variable.assign(rng.uniform(0.5, 1.5, value.shape) if positive else rng.normal(0, 0.2, value.shape))
    specification = (tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="image"),)
    tf2onnx.convert.from_keras(model, specification, opset=15, output_path=str(HERE / "keras_small.onnx"))

    samples = []
    for label, image in enumerate(np.random.default_rng(11).normal(size=(SAMPLES, SIZE, SIZE, 3)).astype(np.float32)):
        x = tf.constant(image[None])
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = -tf.math.log(model(x, training=False)[0, label])
        *gradients, dx = tape.gradient(loss, [*model.trainable_variables, x])
        pairs = {v.path: (v.numpy(), g.numpy()) for v, g in zip(model.trainable_variables, gradients, strict=True)}
        samples.append(
            {
                "loss": float(loss),
                "norms": {name: float(np.linalg.norm(gradient)) for name, (_, gradient) in pairs.items()},
                "scaled": {name: scaled(*pair) for name, pair in pairs.items() if name.endswith("kernel")},
                "input": float(tf.norm(dx)),
            }
        )
    sizes = {v.path: [int(tf.size(v)), float(tf.norm(v))] for v in model.trainable_variables}
    (HERE / "keras_small.json").write_text(json.dumps({"samples": samples, "sizes": sizes}, indent=1) + "\n")


def scaled(kernel: np.ndarray, gradient: np.ndarray) -> float:
    """√Σ_c(‖W_c‖·‖dW_c‖)² over output channels, which stand last; a depthwise kernel has [h, w, channels, 1]."""
    channels = kernel.shape[-1] if kernel.shape[-1] > 1 else kernel.shape[-2]
    products = [np.linalg.norm(t.reshape(-1, channels), axis=0) for t in (kernel, gradient)]
    return float(np.linalg.norm(products[0] * products[1]))


if __name__ == "__main__":
    main()

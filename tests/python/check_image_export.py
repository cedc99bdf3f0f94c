"""Exported weight samples of image networks as a Python user finds them.

Usage: check_image_export.py LIVI

Makes two small sets of images, trains a LeNet and a wide residual network on them with the program LIVI for a few steps, draws weight samples,
opens them with the public safetensors package, recomputes log-probabilities and probabilities with numpy from that one file and compares with
`livi predict`. Normalisation takes the exported statistics as PyTorch does in evaluation mode.
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import tomllib

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

SEED = 7
TOLERANCE = 1e-4
EPSILON = 1e-5
CLASSES, TRAIN, TEST = 4, 96, 24

COMMON = """\
seed = 3
[data]
source = "images"
path = "{data}"
[network]
{network}
[likelihood]
kind = "softmax"
[sampler]
kind = "mm"
latent = [4, 4]
hidden = [12, 12]
init_scale = 0.3
[entropy]
method = "slq"
steps = 5
[training]
steps = {steps}
batch_size = 24
samples = 2
learning_rate = 5e-3
[prediction]
reference_rows = 40
"""
LENET = 'architecture = "lenet"\ninput = [1, 20, 18]\nactivation = "{activation}"'
WIDE_RESNET = 'architecture = "wide_resnet"\ninput = [3, 12, 10]\ndepth = 10\nwidth = 1\nactivation = "{activation}"'

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
}


def images(count, shape, generator):
    """Noise with a bright square whose corner tells the class; (count, channels, rows, columns) and classes."""
    x = generator.integers(0, 90, size=(count, *shape), dtype=np.uint8)
    y = np.arange(count) % CLASSES
    rows, columns = shape[1] // 2, shape[2] // 2
    for image, label in zip(x, y):
        top, left = rows * (label // 2), columns * (label % 2)
        image[:, top : top + rows, left : left + columns] += 120
    return x, y.astype(np.uint8)


def write_idx(path, magic, array):
    sizes = array.shape
    path.write_bytes(struct.pack(f">{1 + len(sizes)}I", magic, *sizes) + array.tobytes())


def convolution(x, weight, stride=1, padding=0):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)


def max_pool(x):
    rows, columns = x.shape[2] // 2, x.shape[3] // 2
    return x[:, :, : 2 * rows, : 2 * columns].reshape(*x.shape[:2], rows, 2, columns, 2).max(axis=(3, 5))


def lenet(w, x, activation):
    for name in ("conv1", "conv2"):
        bias = w[f"{name}.bias"][:, None, None]
        x = max_pool(activation(convolution(x, w[f"{name}.weight"]) + bias))
    x = x.reshape(len(x), -1)
    for name in ("fc1", "fc2", "fc3"):
        x = x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        x = x if name == "fc3" else activation(x)
    return x


def wide_resnet(w, x, activation):
    def normalised(name, h):
        mean, variance = (w[f"{name}.running_{kind}"][:, None, None] for kind in ("mean", "var"))
        return activation((h - mean) / np.sqrt(variance + EPSILON))

    x = convolution(x, w["conv1.weight"], padding=1)
    for group in (1, 2, 3):
        block, stride = f"block{group}.0", 1 if group == 1 else 2
        shared = normalised(f"{block}.bn1", x)
        long = convolution(shared, w[f"{block}.conv1.weight"], stride, 1)
        long = convolution(normalised(f"{block}.bn2", long), w[f"{block}.conv2.weight"], padding=1)
        shortcut = w.get(f"{block}.shortcut.weight")
        x = long + (x if shortcut is None else convolution(shared, shortcut, stride))
    x = normalised("bn1", x).mean(axis=(2, 3))
    return x @ w["fc.weight"].T + w["fc.bias"]


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def run(livi, *arguments):
    command = [str(argument) for argument in (livi, *arguments)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, f"{' '.join(command)}: {answer.stderr}"
    return answer.stdout


def compare(livi, folder, network, x, samples):
    """The largest difference of log-probabilities and probabilities between numpy and `livi predict`."""
    file, common = folder / f"samples-{samples}.safetensors", ["--samples", samples, "--seed", SEED]
    run(livi, "sample", folder / "run", *common, "--out", file)
    predicted = json.loads(run(livi, "predict", folder / "run", *common, "--input", folder / "data", "--json"))
    with safe_open(file, framework="numpy") as opened:
        tensors = {name: opened.get_tensor(name).astype(np.float64) for name in opened.keys()}
        metadata = opened.metadata()
    assert all(tensor.shape[0] == samples for tensor in tensors.values()), "a tensor has no sample axis"
    (target,) = json.loads(metadata["output_names"])
    scale = {key: np.array(values) for key, values in json.loads(metadata["standardiser"]).items()}
    flat = (x.reshape(len(x), -1) / 255 - scale["x_mean"]) / scale["x_std"]
    activation = ACTIVATIONS[tomllib.loads(metadata["config"])["network"]["activation"]]
    logits = [
        network({name: tensor[i] for name, tensor in tensors.items()}, flat.reshape(x.shape), activation)
        for i in range(samples)
    ]
    logs = log_softmax(np.array(logits))
    probabilities = np.exp(logs).mean(axis=0)
    found = np.array([predicted[f"{target}_probability_{label}"] for label in range(CLASSES)]).T
    assert found.shape == probabilities.shape, (found.shape, probabilities.shape)
    entropy = -(probabilities * np.log(probabilities)).sum(axis=1)
    information = entropy + (np.exp(logs) * logs).sum(axis=2).mean(axis=0)
    differences = {
        "log-probabilities": np.log(found) - np.log(probabilities),
        "probabilities": found - probabilities,
        "entropy": np.array(predicted[f"{target}_entropy"]) - entropy,
        "mutual information": np.array(predicted[f"{target}_mutual_information"]) - information,
    }
    worst = {name: np.abs(values).max() for name, values in differences.items()}
    assert all(value <= TOLERANCE for value in worst.values()), worst
    assert probabilities.max() - probabilities.min() > 0.05, "the network says the same of everything; the check is void"
    return max(worst.values())


def main(livi):
    generator = np.random.default_rng(0)
    for name, network, shape, settings, activation, steps in [
        ("LeNet", lenet, (1, 20, 18), LENET, "relu", 40),
        ("LeNet with tanh", lenet, (1, 20, 18), LENET, "tanh", 5),
        ("wide ResNet", wide_resnet, (3, 12, 10), WIDE_RESNET, "relu", 20),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            data = folder / "data"
            data.mkdir()
            for part, count in [("train", TRAIN), ("test", TEST)]:
                x, y = images(count, shape, generator)
                if network is lenet:
                    prefix = {"train": "train", "test": "t10k"}[part]
                    write_idx(data / f"{prefix}-images-idx3-ubyte", 0x0803, x[:, 0])
                    write_idx(data / f"{prefix}-labels-idx1-ubyte", 0x0801, y)
                else:
                    save_file({"x": x, "y": y}, data / f"{part}.safetensors")
            text = COMMON.format(data=data, network=settings.format(activation=activation), steps=steps)
            (folder / "config.toml").write_text(text)
            run(livi, "train", folder / "config.toml", "--out", folder / "run")
            # One sample: log-probabilities are the logits up to a constant for each image.
            worst = max(compare(livi, folder, network, x, samples) for samples in (1, 8))
        print(f"{name}: predictions of {TEST} images from exported samples alone equal to {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1])

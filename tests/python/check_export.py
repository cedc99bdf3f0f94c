"""Exported weight samples as a Python user finds them.

Usage: check_export.py LIVI RUN

Draws weight samples from the run folder RUN with the program LIVI, opens them with the public safetensors package, checks names, shapes and
metadata as documented, recomputes the predictions of a CSV file with numpy from that one file and compares with `livi predict`.
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import numpy as np
from safetensors import safe_open

SAMPLES, SEED = 20, 7
TOLERANCE = 1e-5

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(x, 0.0),
}


def open_tensors(path):
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def check_names_and_shapes(tensors, metadata, widths):
    expected = {}
    for k, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        expected[f"layer{k}.weight"] = (SAMPLES, outputs, inputs)
        expected[f"layer{k}.bias"] = (SAMPLES, outputs)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    assert found == expected, f"tensors {found}, expected {expected}"
    assert metadata["kind"] == "livi weight samples", metadata["kind"]
    assert metadata["format_version"] == "2", metadata["format_version"]
    assert metadata["seed"] == str(SEED) and metadata["count"] == str(SAMPLES), metadata
    layout = [(name, tuple(shape)) for name, shape in json.loads(metadata["layout"])]
    assert layout == [(name, shape[1:]) for name, shape in expected.items()], layout


def outputs(tensors, activation, x):
    """Network outputs (samples, rows, outputs) of inputs (rows, inputs), both standardised."""
    layers = len(tensors) // 2
    h = np.broadcast_to(x, (SAMPLES, *x.shape))
    for k in range(layers):
        weight = tensors[f"layer{k}.weight"].astype(np.float64)
        bias = tensors[f"layer{k}.bias"].astype(np.float64)
        h = np.einsum("sni,soi->sno", h, weight) + bias[:, None, :]
        if k < layers - 1:
            h = activation(h)
    return h


def main(livi, run):
    common = ["--samples", str(SAMPLES), "--seed", str(SEED)]
    with tempfile.TemporaryDirectory() as folder:
        file, inputs = pathlib.Path(folder) / "samples.safetensors", pathlib.Path(folder) / "inputs.csv"
        subprocess.run([livi, "sample", run, *common, "--out", file], check=True)
        tensors, metadata = open_tensors(file)
        input_names, target_names = json.loads(metadata["input_names"]), json.loads(metadata["output_names"])
        scale = {key: np.array(values) for key, values in json.loads(metadata["standardiser"]).items()}
        noise_std = np.array(json.loads(metadata["noise_std"]))
        x = scale["x_mean"] + scale["x_std"] * np.random.default_rng(0).normal(size=(50, len(input_names)))
        with open(inputs, "w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(input_names)
            writer.writerows([[repr(float(value)) for value in row] for row in x])
        answer = subprocess.run(
            [livi, "predict", run, *common, "--input", inputs, "--json"], check=True, capture_output=True, text=True
        )
        predicted = json.loads(answer.stdout)
    config = tomllib.loads(metadata["config"])
    widths = [len(input_names), *config["network"]["hidden"], len(target_names)]
    check_names_and_shapes(tensors, metadata, widths)
    assert metadata["components"] == str(config["training"]["components"]), metadata["components"]
    activation = ACTIVATIONS[config["network"]["activation"]]
    y = outputs(tensors, activation, (x - scale["x_mean"]) / scale["x_std"]) * scale["y_std"] + scale["y_mean"]
    mean, epistemic = y.mean(axis=0), y.std(axis=0)
    aleatoric = np.broadcast_to(noise_std, mean.shape)
    columns = {
        "mean": mean,
        "epistemic_std": epistemic,
        "aleatoric_std": aleatoric,
        "total_std": np.hypot(epistemic, aleatoric),
    }
    worst = 0.0
    for column, name in enumerate(target_names):
        for suffix, values in columns.items():
            value = values[:, column]
            unit = np.maximum(np.abs(value), scale["y_std"][column])
            error = np.max(np.abs(np.array(predicted[f"{name}_{suffix}"]) - value) / unit)
            assert error <= TOLERANCE, f"{name}_{suffix} differs by {error}"
            worst = max(worst, error)
    print(f"{SAMPLES} exported samples: names and shapes as documented, predictions equal to {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

#!/usr/bin/env python3
"""Posteriors of LeNet on MNIST beside each other: livi's samples, a deep ensemble, and Laplace approximations by laplace-torch.

    python3 benches/mnist_baselines.py --data DIR --ensemble FILE [--posterior FILE] [--out FILE] [--laplace last_layer_kron,all_kron]

DIR holds mnist, fashion-mnist, kmnist and notmnist as folders of idx files, plain or .gz. The files are what `livi sample` wrote: --ensemble of a run
of point estimates, --posterior of one of weights that are drawn:

    livi train mnist-lenet --set data.path=DIR/mnist --set 'network.stochastic=[]' --set training.samples=1 --set training.components=5 --out ensemble
    livi sample ensemble --samples 5 --out ensemble.safetensors
    livi train mnist-lenet --set data.path=DIR/mnist --out posterior
    livi sample posterior --samples 100 --out posterior.safetensors

Rows: the first network of the ensemble; Laplace approximations around it, fitted on all training images with the prior precision of the largest
marginal likelihood and with the library's other defaults, predictions by the linearised network with the probit approximation; the mean prediction of
the whole ensemble; the mean prediction of the posterior's samples. All in PyTorch and numpy, by the same functions, which makes it a check of livi's
own figures too. Prints a Markdown table and, with --out, appends a JSON line for each row to FILE. Needs torch, numpy, safetensors and laplace-torch.
"""

import argparse
import gzip
import json
import pathlib
import time
import warnings

import numpy as np
import torch
from safetensors import safe_open

OTHERS = ["fashion-mnist", "kmnist", "notmnist"]
BATCH = 200


def idx(path):
    """An array from an idx file of bytes, plain or .gz."""
    packed = path.with_name(path.name + ".gz")
    data = gzip.open(packed).read() if packed.exists() else path.read_bytes()
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * k : 8 + 4 * k], "big") for k in range(rank)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def images(folder, part, mean, std):
    pixels = torch.from_numpy(idx(folder / f"{part}-images-idx3-ubyte").astype(np.float32)) / 255
    return ((pixels - mean) / std).unsqueeze(1)


def lenet(tensors, sample):
    """The published network with one of the file's samples as weights."""
    net = torch.nn.Sequential()
    for name, module in [
        ("conv1", torch.nn.Conv2d(1, 6, 5)), ("relu1", torch.nn.ReLU()), ("pool1", torch.nn.MaxPool2d(2)),
        ("conv2", torch.nn.Conv2d(6, 16, 5)), ("relu2", torch.nn.ReLU()), ("pool2", torch.nn.MaxPool2d(2)), ("flat", torch.nn.Flatten()),
        ("fc1", torch.nn.Linear(256, 120)), ("relu3", torch.nn.ReLU()), ("fc2", torch.nn.Linear(120, 84)), ("relu4", torch.nn.ReLU()),
        ("fc3", torch.nn.Linear(84, 10)),
    ]:  # fmt: skip
        net.add_module(name, module)
    net.load_state_dict({name: tensor[sample].float() for name, tensor in tensors.items()})
    return net.eval()


def read(path):
    """Weights with a leading sample axis, and the mean and scale of the inputs."""
    with safe_open(path, framework="pt") as file:
        scale = json.loads(file.metadata()["standardiser"])
        return {name: file.get_tensor(name) for name in file.keys()}, scale["x_mean"][0], scale["x_std"][0]


def by_batches(predict, x):
    with torch.no_grad():
        return torch.cat([predict(x[k : k + BATCH]).double() for k in range(0, len(x), BATCH)]).numpy()


def mean_prediction(tensors):
    nets = [lenet(tensors, sample) for sample in range(len(tensors["fc3.bias"]))]
    return lambda x: sum(torch.softmax(net(x).double(), -1) for net in nets) / len(nets)


def laplace(net, kind, x, y):
    """The predictive distribution of a Laplace approximation around a network."""
    from laplace import Laplace

    subset, structure = kind.rsplit("_", 1)
    model = Laplace(net, "classification", subset_of_weights=subset, hessian_structure=structure)
    model.fit(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=BATCH))
    model.optimize_prior_precision(method="marglik")
    return lambda x: model(x, link_approx="probit").detach()


def auroc(inside, outside):
    """Probability that an image of another set has the larger score, ties counted half."""
    scores = np.concatenate([inside, outside])
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, k = len(inside), len(outside)
    return (ranks[n:].sum() - k * (k + 1) / 2) / (n * k)


def calibration_error(p, y, bins=15):
    confidence, right = p.max(-1), p.argmax(-1) == y
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return sum(abs(right[place == b].mean() - confidence[place == b].mean()) * (place == b).mean() for b in range(bins) if (place == b).any())


def entropy(p):
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)


def measure(name, predict, test, labels, others, seconds):
    p = by_batches(predict, test)
    row = {
        "row": name,
        "error": 100 * float((p.argmax(-1) != labels).mean()),
        "nll": float(-np.log(p[np.arange(len(p)), labels]).mean()),
        "ece": 100 * float(calibration_error(p, labels)),
        "seconds": seconds,
    }
    own = entropy(p)
    for other, x in others.items():
        row[other] = float(auroc(own, entropy(by_batches(predict, x))))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--ensemble", type=pathlib.Path, required=True)
    parser.add_argument("--posterior", type=pathlib.Path)
    parser.add_argument("--laplace", default="last_layer_kron,all_kron", help="kinds as laplace-torch names them, or nothing [last_layer_kron,all_kron]")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tensors, mean, std = read(args.ensemble)
    folder = args.data / "mnist"
    test, labels = images(folder, "t10k", mean, std), idx(folder / "t10k-labels-idx1-ubyte").astype(int)
    others = {other: images(args.data / other, "t10k", mean, std) for other in OTHERS}
    x, y = images(folder, "train", mean, std), torch.from_numpy(idx(folder / "train-labels-idx1-ubyte").astype(np.int64))

    first = {name: tensor[:1] for name, tensor in tensors.items()}
    kinds = [kind for kind in args.laplace.split(",") if kind]
    rows = [("point estimate", lambda: mean_prediction(first))]
    rows += [(f"Laplace, {kind}", lambda kind=kind: laplace(lenet(tensors, 0), kind, x, y)) for kind in kinds]
    rows.append((f"deep ensemble of {len(tensors['fc3.bias'])}", lambda: mean_prediction(tensors)))
    if args.posterior is not None:
        drawn, *scale = read(args.posterior)
        assert scale == [mean, std], "the two runs standardise their inputs differently"
        rows.append((f"livi, {len(drawn['fc3.bias'])} samples", lambda: mean_prediction(drawn)))

    print("| | error % | NLL | ECE(15) % | " + " | ".join(OTHERS) + " | seconds to make |\n|" + "---|" * (5 + len(OTHERS)))
    for name, make in rows:
        start = time.perf_counter()
        predict = make()
        row = measure(name, predict, test, labels, others, time.perf_counter() - start)
        numbers = [f"{row['error']:.2f}", f"{row['nll']:.4f}", f"{row['ece']:.2f}", *(f"{row[other]:.4f}" for other in OTHERS), f"{row['seconds']:.1f}"]
        print("| " + " | ".join([name, *numbers]) + " |", flush=True)
        if args.out is not None:
            with args.out.open("a") as file:
                file.write(json.dumps({"ensemble": str(args.ensemble), **row}) + "\n")


if __name__ == "__main__":
    main()

"""What an exported network answers, and what it has to: for the tests that have ONNX Runtime."""

from typing import Any

import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from digit_rnn import DigitRNN

onnxruntime: Any = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]


def session(source: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def answers(running: Any, images: Tensor) -> tuple[Array, Array]:
    probabilities, is_outlier = running.run(["probabilities", "is_outlier"], {"images": images.numpy()})
    return probabilities, is_outlier


@torch.no_grad()
def expected(model: DigitRNN, images: Tensor) -> tuple[Array, Array, Array]:
    """Probabilities, outliers, and by how much of the threshold a score differs from it."""
    features = model.network.features(images)
    logits = model.network.classify(features)
    confidence = model.confidence
    margin = (confidence.outlier_score(features, logits) / confidence.outlier_threshold - 1).abs()
    return confidence.probabilities(logits).numpy(), confidence.is_outlier(features, logits).numpy(), margin.numpy()

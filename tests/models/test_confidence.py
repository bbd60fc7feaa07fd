import torch
from torch import Tensor

from digit_rnn import DigitRNN
from digit_rnn.models.confidence import Confidence


def test_temperature_calibrates(seen: tuple[Tensor, Tensor, Tensor], network: DigitRNN) -> None:
    """Label smoothing leaves a network too modest: calibrated, its confidence is what its accuracy is."""
    images, labels, probabilities = seen
    assert network.confidence.temperature != 1
    accuracy = (probabilities.argmax(1) == labels).float().mean()
    with torch.no_grad():
        raw = network(images).softmax(1)
    assert abs(probabilities.max(1).values.mean() - accuracy) < 0.01
    assert abs(probabilities.max(1).values.mean() - accuracy) < abs(raw.max(1).values.mean() - accuracy)


def test_nothing_is_trusted_before_the_first_validation() -> None:
    confidence = Confidence(16, 10)
    logits = torch.randn(5, 10)
    assert torch.equal(confidence.probabilities(logits), logits.softmax(1))
    assert confidence.outlier_threshold < -1e8
    assert confidence.is_outlier(torch.randn(5, 16), logits).all()
    assert confidence.is_outlier(torch.full((1, 16), torch.nan), logits[:1]).all()


def test_outliers_are_what_lies_further_out_than_98_percent() -> None:
    """One direction varies ten times as much as the others; what is far is told by each direction's own measure."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % 10
    spread = torch.tensor([10.0] + [1.0] * 15)
    features = torch.randn(2000, 16, generator=generator) * spread + labels[:, None]
    logits = torch.eye(10)[labels] * 5
    confidence = Confidence(16, 10)
    confidence.fit(features, logits, labels)
    assert abs(confidence.is_outlier(features, logits).float().mean().item() - 0.02) < 0.001
    far = torch.zeros(2, 16)
    far[0, 0] = far[1, 1] = 30.0  # three standard deviations, and thirty
    assert confidence.is_outlier(far, logits[:2]).tolist() == [False, True]


def test_a_network_with_an_output_for_no_digit_says_itself_what_is_odd() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(1000) % 10
    logits = torch.cat([torch.eye(10)[labels] * 8, torch.randn(1000, 1, generator=generator)], dim=1)
    features = torch.randn(1000, 16, generator=generator)
    confidence = Confidence(16, 10)
    confidence.fit(features, logits, labels)
    assert confidence.probabilities(logits).shape == (1000, 10)
    assert abs(confidence.is_outlier(features, logits).float().mean().item() - 0.02) < 0.002
    odd = logits[:2].clone()
    odd[0, 10], odd[1, 10] = 20, torch.nan
    assert confidence.is_outlier(features[:2], odd).all()
    assert torch.allclose(confidence.probabilities(odd), confidence.probabilities(logits[:2]))

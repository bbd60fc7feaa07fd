"""How far the network's answers can be trusted: calibrated probabilities, and what is unlike any digit."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONFIDENCE_THRESHOLD = 0.99  # a digit read with less confidence should be looked at


class Confidence(nn.Module):
    """Calibrates a classifier and finds its outliers, by what it made of validation images.

    Before ``fit``, the probabilities are the plain softmax, and every image is an outlier: nothing is known yet.

    Args:
        num_features: Length of a feature vector.
        num_classes: Number of classes.

    Attributes:
        temperature: (), what logits are divided by (temperature scaling; Guo et al. 2017, arXiv:1706.04599).
        whitening: (num_features, num_features), the map under which features vary alike in each direction.
        centers: (num_classes, num_features), the whitened mean features of each class.
        distance_threshold: (), the distance from the nearest center beyond which an image is an outlier (Mahalanobis
            distance; Lee et al. 2018, arXiv:1807.03888).
    """

    temperature: Tensor
    whitening: Tensor
    centers: Tensor
    distance_threshold: Tensor

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("whitening", torch.eye(num_features))
        self.register_buffer("centers", torch.zeros(num_classes, num_features))
        self.register_buffer("distance_threshold", torch.zeros(()))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (…, num_classes) → calibrated probabilities (…, num_classes)."""
        return (logits.float() / self.temperature).softmax(dim=-1)

    def is_outlier(self, features: Tensor) -> Tensor:
        """Which images lie further from each class than 98 % of validation: (B, num_features) → bool (B,)."""
        with torch.autocast(features.device.type, enabled=False):  # the threshold was found in full precision
            distance = torch.cdist(features.float() @ self.whitening, self.centers).amin(1)
        return ~(distance <= self.distance_threshold)  # a distance that is no number is beyond it

    @torch.no_grad()
    def fit(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Learns temperature and distances from features (N, D), logits (N, C) and labels int64 (N,), on the CPU."""
        candidates = torch.logspace(-1, 1, 81)
        losses = torch.stack([F.cross_entropy(logits.float() / candidate, labels) for candidate in candidates])
        self.temperature.copy_(candidates[losses.argmin()])

        features, ones = features.double(), F.one_hot(labels, len(self.centers)).double()
        centers = ones.T @ features / ones.sum(0).clamp(min=1)[:, None]
        offsets = features - centers[labels]
        covariance = offsets.T @ offsets / len(offsets)
        # Units that never fire have no variance: all get a hundredth of the mean one.
        covariance.diagonal().add_(0.01 * covariance.diagonal().mean().clamp(min=1e-6))
        whitening = torch.linalg.cholesky(torch.linalg.inv(covariance))
        self.whitening.copy_(whitening)
        self.centers.copy_(centers @ whitening)
        distances = torch.cdist(features @ whitening, centers @ whitening).amin(1)
        self.distance_threshold.copy_(distances.quantile(0.98))

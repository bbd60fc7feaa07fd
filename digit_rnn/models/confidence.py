"""How far the network's answers can be trusted: calibrated probabilities, and what is unlike any digit."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONFIDENCE_THRESHOLD = 0.99  # a digit read with less confidence should be looked at


class Confidence(nn.Module):
    """Calibrates a classifier and finds its outliers, by what it made of validation images.

    Before ``fit``, the probabilities are the plain softmax, and every image is an outlier: nothing is known yet.

    A network that has learnt what is no digit says by itself how much an image is one; the images that another finds
    odd are those whose features lie far from each class's mean.

    Args:
        num_features: Length of a feature vector.
        num_classes: Number of classes.

    Attributes:
        temperature: (), what logits are divided by (temperature scaling; Guo et al. 2017, arXiv:1706.04599).
        whitening: (num_features, num_features), the map under which features vary alike in each direction.
        centers: (num_classes, num_features), the whitened mean features of each class.
        outlier_threshold: (), the score above which an image is an outlier: its distance from the nearest center
            (Mahalanobis distance; Lee et al. 2018, arXiv:1807.03888), or the log odds that it is no digit.
    """

    temperature: Tensor
    whitening: Tensor
    centers: Tensor
    outlier_threshold: Tensor

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("whitening", torch.eye(num_features))
        self.register_buffer("centers", torch.zeros(num_classes, num_features))
        self.register_buffer("outlier_threshold", torch.full((), -1e9))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (…, num_classes or one more) → calibrated probabilities (…, num_classes)."""
        return (logits[..., : len(self.centers)].float() / self.temperature).softmax(dim=-1)

    def outlier_score(self, features: Tensor, logits: Tensor) -> Tensor:
        """How odd images are: features (B, num_features) and logits (B, num_classes or one more) → (B,)."""
        if logits.shape[1] > len(self.centers):
            return (logits[:, -1] - logits[:, :-1].logsumexp(1)).float()
        with torch.autocast(features.device.type, enabled=False):  # the threshold was found in full precision
            return torch.cdist(features.to(self.whitening.dtype) @ self.whitening, self.centers).amin(1)

    def is_outlier(self, features: Tensor, logits: Tensor) -> Tensor:
        """Which images are odder than 98 % of validation's, bool (B,), as ``outlier_score`` has it."""
        return ~(self.outlier_score(features, logits) <= self.outlier_threshold)  # so is a score that is no number

    @torch.no_grad()
    def fit(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Learns from features (N, D), logits (N, C or one more) and labels int64 (N,), on the CPU."""
        candidates = torch.logspace(-1, 1, 81)
        ours = logits[:, : len(self.centers)].float()
        losses = torch.stack([F.cross_entropy(ours / candidate, labels) for candidate in candidates])
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
        self.outlier_threshold.copy_(self.outlier_score(features.float(), logits.float()).quantile(0.98))

"""The recurrent network: rows of an image in, logits of the ten digits out."""

import math
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from digit_rnn import recurrence
from digit_rnn.data import Batch, gather_rows, step_seed

NUM_CLASSES = 10
SURE = 0.99  # a digit read with less confidence should be looked at
ROW_LENGTH = 28  # an image is read as a sequence of rows, each of 28 pixels


class DigitRNN(LightningModule):
    """Reads an image of a digit row by row, from the top, and names the digit after the last row.

    ``model(images)`` takes float32 (B, T, 28) in [0, 1], with any number of rows T ≥ 1, and gives logits (B, 10).
    Trained with cross-entropy and AdamW. The loss and accuracy of training, validation and test are logged as
    ``train_loss``, ``train_accuracy``, ``val_loss`` and so on.

    Args:
        cell: Kind of recurrent layer: rnn (h = f(W x + U h + b)), gru or lstm.
        nonlinearity: f of an rnn. With relu, U starts as the identity (IRNN; Le, Jaitly, Hinton 2015,
            arXiv:1504.00941); with tanh, and in gru and lstm, as a random orthogonal matrix.
        hidden_size: Units of a layer.
        num_layers: Layers, each reading the states of the one before.
        bidirectional: Reads the rows from the bottom as well, with as many units again.
        dropout: Share of a layer's states that is zeroed in training, before the next layer and before the head.
        learning_rate: The highest learning rate.
        schedule: Course of the learning rate after the warm-up: constant, or down to zero along half a cosine.
        warmup: Share of the training steps in which the learning rate rises linearly to its highest value.
        weight_decay: Decoupled weight decay (Loshchilov, Hutter 2019, arXiv:1711.05101); at 0, AdamW is Adam.
        epsilon: Adam's term against division by zero.
        label_smoothing: Share of the target probability in training that is spread over all digits.
    """

    def __init__(
        self,
        cell: Literal["rnn", "gru", "lstm"] = "rnn",
        nonlinearity: Literal["tanh", "relu"] = "relu",
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        bidirectional: bool = False,
        dropout: ClosedUnitInterval = 0.0,
        learning_rate: PositiveFloat = 2e-3,
        schedule: Literal["constant", "cosine"] = "cosine",
        warmup: ClosedUnitInterval = 0.3,
        weight_decay: NonNegativeFloat = 0.1,
        epsilon: PositiveFloat = 1e-8,
        label_smoothing: ClosedUnitInterval = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.hidden_size = hidden_size
        # float(), since the optimizer's state with the command line's number types would not load with weights_only.
        self.learning_rate = float(learning_rate)
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = float(weight_decay)
        self.epsilon = float(epsilon)
        self.label_smoothing = label_smoothing

        options: dict[str, Any] = {
            "num_layers": num_layers,
            "batch_first": True,
            "bidirectional": bidirectional,
            "dropout": dropout if num_layers > 1 else 0.0,  # torch warns of dropout between the layers of one layer
        }
        self.rnn: nn.RNNBase
        if cell == "rnn":
            self.rnn = nn.RNN(ROW_LENGTH, hidden_size, nonlinearity=nonlinearity, **options)
        else:
            self.rnn = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](ROW_LENGTH, hidden_size, **options)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * (2 if bidirectional else 1), NUM_CLASSES)
        self.reset_parameters()

        # Logits are divided by it for probabilities that can be believed: set on the validation images of each epoch
        # (temperature scaling; Guo et al. 2017, arXiv:1706.04599).
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))
        # The mean features of each digit, whitened, and the distance from them beyond which an image is strange
        # (Mahalanobis distance; Lee et al. 2018, arXiv:1807.03888).
        self.whitening: Tensor
        self.centers: Tensor
        self.limit: Tensor
        self.register_buffer("whitening", torch.eye(self.head.in_features))
        self.register_buffer("centers", torch.zeros(NUM_CLASSES, self.head.in_features))
        self.register_buffer("limit", torch.full((), math.inf))
        self.val_outputs: list[tuple[Tensor, Tensor, Tensor]] = []  # features, logits, labels

        # Counting in each training step would take a tenth of it: its outputs are kept, and counted when asked for.
        self.train_outputs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.metrics = nn.ModuleDict()
        for stage in ("val", "test"):
            # No check for nan: a loss that is not finite stops the run elsewhere.
            self.metrics[f"{stage}_loss"] = MeanMetric(nan_strategy="disable")
            self.metrics[f"{stage}_accuracy"] = MulticlassAccuracy(NUM_CLASSES, average="micro")

    def reset_parameters(self) -> None:
        """Draws new initial weights as Keras does: PyTorch's own cost this network one point of accuracy.

        Glorot uniform for input and head, orthogonal (or, with ReLU, the identity) from state to state, zero biases.
        """
        for name, parameter in self.rnn.named_parameters():
            for gate in parameter.data.chunk(len(parameter) // self.hidden_size):
                if "bias" in name:
                    nn.init.zeros_(gate)
                elif "weight_ih" in name:
                    nn.init.xavier_uniform_(gate)
                elif self.rnn.mode == "RNN_RELU":
                    nn.init.eye_(gate)
                else:
                    nn.init.orthogonal_(gate)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def training_metrics(self) -> dict[str, Tensor]:
        """Training loss and accuracy from the beginning of the epoch; on several devices, this one's."""
        if not self.train_outputs:
            return {}
        losses, logits, labels = zip(*self.train_outputs, strict=True)
        finite = torch.stack(losses).isfinite()
        if not finite.all():
            step = self.global_step - len(losses) + int((~finite).nonzero()[0])
            raise MisconfigurationException(
                f"the loss of step {step} is not finite: try a lower model.learning_rate; the last checkpoint is kept"
            )
        sizes = torch.tensor([len(part) for part in labels], device=losses[0].device)
        accuracy = (torch.cat(logits).argmax(1) == torch.cat(labels)).float().mean()
        return {"train_loss": (torch.stack(losses) * sizes).sum() / sizes.sum(), "train_accuracy": accuracy}

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, T, 28) in [0, 1] → logits (B, 10)."""
        logits: Tensor = self.head(self.dropout(self.features(images)))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """The last layer's state after the last row: float32 (B, T, 28) → (B, hidden_size · directions)."""
        if recurrence.serves(self.rnn, images):
            return recurrence.last_state(self.rnn, images)
        _, state = self.rnn(images)
        hidden = state[0] if self.rnn.mode == "LSTM" else state  # (layers · directions, B, hidden_size)
        directions = 2 if self.rnn.bidirectional else 1
        last: Tensor = hidden[-directions:].transpose(0, 1).flatten(1)
        return last

    def probabilities(self, images: Tensor) -> Tensor:
        """float32 (B, T, 28) in [0, 1] → probabilities (B, 10) of the digits 0…9, calibrated."""
        return self._calibrated(self(images))

    def calibrate(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Learns how far to trust the network, from features (N, D), logits (N, 10) and labels (N,) on the CPU."""
        candidates = torch.logspace(-1, 1, 81)
        losses = torch.stack([F.cross_entropy(logits.float() / candidate, labels) for candidate in candidates])
        self.temperature.copy_(candidates[losses.argmin()])

        features, ones = features.double(), F.one_hot(labels, NUM_CLASSES).double()
        centers = ones.T @ features / ones.sum(0).clamp(min=1)[:, None]
        offsets = features - centers[labels]
        covariance = offsets.T @ offsets / len(offsets)
        # Units that never fire have no variance: all get a hundredth of the mean one.
        covariance.diagonal().add_(0.01 * covariance.diagonal().mean().clamp(min=1e-6))
        whitening = torch.linalg.cholesky(torch.linalg.inv(covariance))
        self.whitening.copy_(whitening)
        self.centers.copy_(centers @ whitening)
        self.limit.copy_(torch.cdist(features @ whitening, centers @ whitening).amin(1).quantile(0.98))

    def beliefs(self, images: Tensor) -> Tensor:
        """What the network believes after each row: float32 (B, T, 28) → probabilities (B, T, 10), calibrated.

        A network that reads from both ends is asked anew for each number of rows.
        """
        if self.rnn.bidirectional:
            return torch.stack([self.probabilities(images[:, : row + 1]) for row in range(images.shape[1])], dim=1)
        return self._calibrated(self.head(self.dropout(self.rnn(images)[0])))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch's loss, label smoothing included."""
        images, labels = batch
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(gpus, enabled=self.dropout.p > 0):
            if self.dropout.p:
                torch.manual_seed(step_seed(self.trainer))
            logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        self.train_outputs.append((loss.detach(), logits.detach(), labels))
        # Lightning's log() costs a tenth of a step: call it only when its loggers will listen.
        trainer: Any = self.trainer
        if (self.global_step + 1) % trainer.log_every_n_steps == 0:
            self.log("train_loss_step", loss)
            self.log("learning_rate", trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts one batch."""
        self.val_outputs.append((*self._count("val", batch), batch[1]))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; gives probabilities (B, 10), and which images are strange (B,)."""
        features, logits = self._count("test", batch)
        return {"probabilities": self._calibrated(logits), "strange": self._strange(features)}

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Probabilities (B, 10) of the digits 0…9, and which images are strange (B,)."""
        features = self.features(batch[0])
        return self._calibrated(self.head(self.dropout(features))), self._strange(features)

    def on_train_epoch_start(self) -> None:
        """Forgets the epoch before."""
        self.train_outputs.clear()

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's mean training loss and accuracy."""
        self.log_dict(self.training_metrics(), sync_dist=True)  # the ranks train on equally many images

    def on_validation_epoch_end(self) -> None:
        """Logs the mean validation loss and accuracy, and calibrates the network by the images of all processes."""
        self._log_epoch("val")
        columns = gather_rows([torch.cat(column) for column in zip(*self.val_outputs, strict=True)], self.trainer)
        self.val_outputs.clear()
        if columns[0].isfinite().all():  # else the epoch's end stops the run
            self.calibrate(*columns)

    def on_test_epoch_end(self) -> None:
        """Logs the mean test loss and accuracy."""
        self._log_epoch("test")

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate set anew before each step."""
        optimizer = torch.optim.AdamW(
            self.parameters(),
            self.learning_rate,
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            # One kernel a step. In mixed precision, Lightning cannot clip the gradients of a fused optimizer.
            fused="mixed" not in str(self.trainer.precision),
        )
        if not self.warmup and self.schedule == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise MisconfigurationException(
                "a run without end has no room for a schedule: set trainer.max_epochs, "
                "or model.schedule constant and model.warmup 0"
            )
        warmup_steps: float = self.warmup * steps

        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / (warmup_steps + 1)
            if self.schedule == "constant":
                return 1.0
            progress = (step - warmup_steps) / max(1.0, steps - warmup_steps)
            return 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _calibrated(self, logits: Tensor) -> Tensor:
        return (logits.float() / self.temperature).softmax(dim=-1)

    def _strange(self, features: Tensor) -> Tensor:
        """Which images lie further from each digit's center than 98 % of the validation images do: bool (B,)."""
        with torch.autocast(features.device.type, enabled=False):  # the limit was found in full precision
            return torch.cdist(features.float() @ self.whitening, self.centers).amin(1) > self.limit

    def _count(self, stage: str, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = batch
        features = self.features(images)
        logits: Tensor = self.head(self.dropout(features))
        self._metric(f"{stage}_loss").update(F.cross_entropy(logits, labels, reduction="none"))
        self._metric(f"{stage}_accuracy").update(logits, labels)
        return features, logits

    def _log_epoch(self, stage: str) -> None:
        for name in (f"{stage}_loss", f"{stage}_accuracy"):
            # The metrics have agreed over the processes; sync_dist says so to Lightning.
            self.log(name, self._metric(name).compute(), sync_dist=True)
            self._metric(name).reset()

    def _metric(self, name: str) -> Metric:
        return cast(Metric, self.metrics[name])

"""The recurrent network: rows of an image in, logits of the ten digits out."""

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from digit_rnn.models import recurrence

NUM_CLASSES = 10
ROW_LENGTH = 28  # an image is read as a sequence of rows, each of 28 pixels

# What a row is read with, by name: an nn.RNNBase, or what is made and called as one, gives (B, T, …) with the last
# states, and has its input_size, hidden_size, mode and bidirectional.
CELLS: dict[str, Any] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
if TYPE_CHECKING:
    Cell = str
else:
    Cell = Literal[tuple(CELLS)]


class RowRNN(nn.Module):
    """Reads an image of a digit row by row, from the top, and names the digit after the last row.

    ``network(images)`` takes float32 (B, T, 28) in [0, 1], with any number of rows T ≥ 1, and gives logits (B, 10).

    Args:
        cell: A name in ``CELLS``. This and the others are described in ``DigitRNN``.
        nonlinearity: Of an rnn.
        hidden_size: Units of a layer.
        num_layers: Layers.
        bidirectional: Whether the rows are read from the bottom as well.
        dropout: Before the next layer and before the head.
        non_digit_output: Whether there is an eleventh output, for what is no digit.
    """

    def __init__(
        self,
        cell: Cell = "rnn",
        nonlinearity: Literal["tanh", "relu"] = "relu",
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        non_digit_output: bool = False,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {
            "num_layers": num_layers,
            "batch_first": True,
            "bidirectional": bidirectional,
            "dropout": dropout if num_layers > 1 else 0.0,  # torch warns of dropout between the layers of one layer
        }
        if cell == "rnn":
            options["nonlinearity"] = nonlinearity
        self.rnn: nn.RNNBase = CELLS[cell](ROW_LENGTH, hidden_size, **options)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * (2 if bidirectional else 1), NUM_CLASSES + non_digit_output)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new initial weights as Keras does: PyTorch's own cost this network one point of accuracy.

        Glorot uniform for input and head, orthogonal (or, with ReLU, the identity) from state to state, zero biases.
        """
        for name, parameter in self.rnn.named_parameters():
            if parameter.dim() < 2:  # a bias, or what a cell of another kind has, such as scales
                if "bias" in name:
                    nn.init.zeros_(parameter)
                continue
            for gate in parameter.data.chunk(len(parameter) // self.rnn.hidden_size):
                if "weight_ih" in name:
                    nn.init.xavier_uniform_(gate)
                elif self.rnn.mode == "RNN_RELU":
                    nn.init.eye_(gate)
                else:
                    nn.init.orthogonal_(gate)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, T, 28) in [0, 1] → logits (B, 10)."""
        return self.classify(self.features(images))[:, :NUM_CLASSES]

    def features(self, images: Tensor) -> Tensor:
        """The last layer's state after the last row: float32 (B, T, 28) → (B, hidden_size · directions)."""
        if recurrence.supports(self.rnn, images):
            return recurrence.last_state(self.rnn, images)
        _, state = self.rnn(images)
        hidden = state[0] if isinstance(state, tuple) else state  # (layers · directions, B, hidden_size)
        directions = 2 if self.rnn.bidirectional else 1
        last: Tensor = hidden[-directions:].transpose(0, 1).flatten(1)
        return last

    def classify(self, features: Tensor) -> Tensor:
        """(B, hidden_size · directions) → logits (B, 10), or (B, 11) with that of no digit."""
        logits: Tensor = self.head(self.dropout(features))
        return logits

    def logits_by_row(self, images: Tensor) -> Tensor:
        """The logits if the network had to answer after each row: float32 (B, T, 28) → (B, T, 10).

        A network that reads from both ends is asked anew for each number of rows.
        """
        if self.rnn.bidirectional:
            return torch.stack([self(images[:, : row + 1]) for row in range(images.shape[1])], dim=1)
        return self.classify(self.rnn(images)[0])[..., :NUM_CLASSES]

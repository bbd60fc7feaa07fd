"""The network in ONNX's words: one node a recurrent layer, which takes any number of rows and images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import digit_rnn
from digit_rnn.errors import OptionError
from digit_rnn.models.classifier import DigitRNN
from digit_rnn.models.network import NUM_CLASSES, ROW_LENGTH

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17  # of 2022: new enough for each operator here, and old enough for runtimes on phones and in browsers
LARGEST = 2**31 - 2**20  # bytes of weights: an ONNX file ends at 2 GB
# ONNX's name of a cell, and which of torch's gates is its first, second, …
OPERATORS: dict[type, tuple[str, tuple[int, ...]]] = {
    nn.RNN: ("RNN", (0,)),
    nn.GRU: ("GRU", (1, 0, 2)),
    nn.LSTM: ("LSTM", (0, 3, 1, 2)),
}


def onnx_model(model: DigitRNN, metadata: dict[str, str]) -> "ModelProto":
    """The network with its calibration in ONNX's words, checked.

    float32 ``images`` (batch, rows, 28) become float32 ``probabilities`` (batch, 10) and bool ``is_outlier`` (batch,).

    Args:
        model: The network.
        metadata: Texts that are kept in the file.

    Raises:
        OptionError: onnx is not installed, or ONNX has no word for the network.
    """
    try:
        from onnx import TensorProto, checker, helper
    except ImportError as error:
        raise OptionError('export needs onnx, which is not installed: pip install "digit_rnn[onnx]"') from error
    _check(model)
    graph = Graph()
    features = _add_recurrence(graph, model.network.rnn)
    _add_answers(graph, model, features)
    kind, batch = helper.make_tensor_value_info, "batch"
    outputs = [
        kind("probabilities", TensorProto.FLOAT, [batch, NUM_CLASSES]),
        kind("is_outlier", TensorProto.BOOL, [batch]),
    ]
    images = kind("images", TensorProto.FLOAT, [batch, "rows", ROW_LENGTH])
    opset = helper.make_opsetid("", OPSET)
    result = helper.make_model(
        helper.make_graph(graph.nodes, "digit_rnn", [images], outputs, graph.constants),
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),  # the newest would keep older runtimes out
        producer_name="digit_rnn",
        producer_version=digit_rnn.__version__,
    )
    helper.set_model_props(result, metadata)
    checker.check_model(result, full_check=True)
    return result


def _check(model: DigitRNN) -> None:
    """Raises OptionError where the network cannot be written."""
    rnn = model.network.rnn
    # A cell of somebody's own may compute anything, one that is derived from torch's too.
    if type(rnn) not in OPERATORS or not rnn.bias or rnn.proj_size:
        raise OptionError(f"export knows the cells rnn, gru and lstm only, and this network's is {type(rnn).__name__}")
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    if size > LARGEST:
        raise OptionError(f"the network has {size / 2**30:.1f} GiB of weights, and an ONNX file holds 2 at most")


class Graph:
    """Nodes, one after the other, and their constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str | Tensor], name: str, place: int = 0, **attributes: Any) -> str:
        """Adds a node whose output number ``place`` gets this name, and gives the name; tensors become constants."""
        from onnx import helper, numpy_helper

        names = [value if isinstance(value, str) else f"{name}.{number}" for number, value in enumerate(inputs)]
        for constant, value in zip(names, inputs, strict=True):
            if isinstance(value, Tensor):
                self.constants.append(numpy_helper.from_array(value.detach().cpu().numpy(), constant))
        self.nodes.append(helper.make_node(operator, names, [""] * place + [name], name=name, **attributes))
        return name


def _add_recurrence(graph: Graph, rnn: nn.RNNBase) -> str:
    """``images`` → the last layer's state after the last row, (batch, directions · hidden_size)."""
    operator, order = OPERATORS[type(rnn)]
    directions = ["", "_reverse"] if rnn.bidirectional else [""]
    options: dict[str, Any] = {"hidden_size": rnn.hidden_size}
    options["direction"] = "bidirectional" if rnn.bidirectional else "forward"
    if operator == "GRU":
        options["linear_before_reset"] = 1  # as torch has it
    if rnn.mode == "RNN_RELU":
        options["activations"] = ["Relu"] * len(directions)

    def parameter(name: str) -> Tensor:  # (directions, gates · hidden_size, …)
        each = [getattr(rnn, name + direction).chunk(len(order)) for direction in directions]
        return torch.stack([torch.cat([gates[place] for place in order]) for gates in each])

    rows = graph.add("Transpose", ["images"], "rows_l0", perm=[1, 0, 2])  # (rows, batch, 28)
    for layer in range(rnn.num_layers):
        weights = [parameter(f"{name}_l{layer}") for name in ("weight_ih", "weight_hh")]
        biases = torch.cat([parameter(f"{name}_l{layer}") for name in ("bias_ih", "bias_hh")], dim=1)
        inputs: list[str | Tensor] = [rows, *weights, biases]
        if layer < rnn.num_layers - 1:
            # (rows, directions, batch, hidden_size) → (rows, batch, directions · hidden_size)
            states = graph.add(operator, inputs, f"states_l{layer}", **options)
            states = graph.add("Transpose", [states], f"states_by_image_l{layer}", perm=[0, 2, 1, 3])
            rows = graph.add("Reshape", [states, torch.tensor([0, 0, -1])], f"rows_l{layer + 1}")
    state = graph.add(operator, inputs, "state", place=1, **options)  # (directions, batch, hidden_size)
    state = graph.add("Transpose", [state], "state_by_image", perm=[1, 0, 2])
    state = graph.add("Reshape", [state, torch.tensor([0, -1])], "last_state")
    # ONNX Runtime's cells make a number of NaN, and torch's do not: features get 0 · the sum of their image's pixels,
    # which is NaN where one of them is NaN or infinite.
    pixels = graph.add("Flatten", ["images"], "pixels")
    total = graph.add("ReduceSum", [pixels, torch.tensor([1])], "total")  # (batch, 1)
    nothing = graph.add("Mul", [total, torch.tensor(0.0)], "nothing_or_nan")
    return graph.add("Add", [state, nothing], "features")


def _add_answers(graph: Graph, model: DigitRNN, features: str) -> None:
    """Features → ``probabilities`` and ``is_outlier``, as ``Confidence`` has them."""
    head, confidence = model.network.head, model.confidence
    logits = digits = graph.add("Gemm", [features, head.weight, head.bias], "logits", transB=1)
    if head.out_features > NUM_CLASSES:
        ends = [torch.tensor([place]) for place in (0, NUM_CLASSES, 1)]  # from, to, of which axis
        digits = graph.add("Slice", [logits, *ends], "digit_logits")
        any_digit = graph.add("ReduceLogSumExp", [digits], "any_digit", axes=[1], keepdims=0)
        no_digit = graph.add("Gather", [logits, torch.tensor(NUM_CLASSES)], "no_digit", axis=1)
        score = graph.add("Sub", [no_digit, any_digit], "score")
    else:
        whitened = graph.add("MatMul", [features, confidence.whitening], "whitened")
        whitened = graph.add("Unsqueeze", [whitened, torch.tensor([1])], "whitened_by_center")
        offsets = graph.add("Sub", [whitened, confidence.centers], "offsets")  # (batch, 10, features)
        distances = graph.add("ReduceL2", [offsets], "distances", axes=[2], keepdims=0)
        score = graph.add("ReduceMin", [distances], "score", axes=[1], keepdims=0)
    calibrated = graph.add("Div", [digits, confidence.temperature], "calibrated_logits")
    graph.add("Softmax", [calibrated], "probabilities", axis=1)
    # A score that is no number is not below the threshold either.
    usual = graph.add("LessOrEqual", [score, confidence.outlier_threshold], "is_usual")
    graph.add("Not", [usual], "is_outlier")

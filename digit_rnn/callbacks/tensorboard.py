"""Records for TensorBoard beside the curves: graph, pictures, hyperparameters with their result."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torchmetrics.functional.classification import multiclass_confusion_matrix

from digit_rnn.callbacks.run import best_checkpoint
from digit_rnn.models.network import NUM_CLASSES

SAMPLE = 9  # validation digits in the picture


class TensorBoardRecord(Callback):
    """Adds to a TensorBoard log, at the end of a run, what its last validation has shown.

    Pictures: the confusion matrix, some validation digits with their predictions, and how one of them is read. Drawing
    them takes a second, which in each epoch would be a fifth of its time.
    """

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Writes the graph."""
        if isinstance(trainer.logger, TensorBoardLogger) and trainer.is_global_zero:
            example = torch.zeros(1, 28, pl_module.network.rnn.input_size, device=pl_module.device)
            trainer.logger.experiment.add_graph(pl_module, example)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Writes the pictures, and the hyperparameters with the best validation accuracy."""
        if not isinstance(trainer.logger, TensorBoardLogger) or not trainer.is_global_zero:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if pl_module.val_outputs.update_called:
            self._write_pictures(trainer, pl_module, data.val_set)
        score = getattr(best_checkpoint(trainer), "best_model_score", None)
        if score is not None:
            trainer.logger.log_hyperparams({**pl_module.hparams, **data.hparams}, {"best_val_accuracy": float(score)})

    def _write_pictures(self, trainer: Trainer, pl_module: Any, val_set: Any) -> None:
        from digit_rnn.reporting import figures

        _, logits, labels = pl_module.val_outputs.columns()  # known already: no process waits for another
        images = val_set.images[:SAMPLE].float() / 255
        pl_module.eval()
        with torch.inference_mode():
            by_row = pl_module.probabilities_by_row(images.to(pl_module.device)).cpu()
        pl_module.train()
        pictures = {
            "confusion_matrix": figures.confusion_figure(
                multiclass_confusion_matrix(logits[:, :NUM_CLASSES].argmax(1), labels, NUM_CLASSES)
            ),
            "validation_digits": figures.predictions_figure(images, val_set.labels, by_row[:, -1]),
            "reading": figures.row_by_row_figure(images[:1], by_row[:1]),
        }
        logger: Any = trainer.logger
        for name, figure in pictures.items():
            # Of the last step, as its figures are: a run that is resumed from its end makes void what is later.
            logger.experiment.add_figure(name, figure, trainer.global_step - 1)

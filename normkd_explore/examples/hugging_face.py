"""NormKD for a language model in the Hugging Face Trainer, through `compute_loss`; needs `[examples]`.

python -m normkd_explore.examples.hugging_face
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from normkd_explore.examples.tiny_transformer import read_documentation
from normkd_explore.language import TokenLoss, TokenNormKD


class DistillationTrainer(Trainer):
    """A Trainer that minimises the model's own loss + kd_weight · distil(student's logits, teacher's logits).

    Both are sums over the tokens that count, divided by their number in the whole step, over all batches and devices
    that make it: so accumulating gradients changes nothing.
    """

    loss_is_scaled_for_ga = True  # the Trainer must not divide by the number of batches on top

    def __init__(self, *args: Any, teacher: nn.Module, distil: TokenLoss, kd_weight: float = 1.0, **named: Any) -> None:
        super().__init__(*args, **named)
        self.teacher = teacher.eval().requires_grad_(False).to(self.args.device)
        self.distil, self.kd_weight = distil, kd_weight

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one batch, as its part of the step."""
        # The logits of a position are a prediction of the next token: they count where that has a label.
        counts_BL = F.pad(inputs["labels"][:, 1:] != -100, (0, 1), value=False)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        with torch.no_grad():
            logits_t = self.teacher(inputs["input_ids"], attention_mask=inputs.get("attention_mask")).logits
        share = self._share(counts_BL, num_items_in_batch)
        loss = loss + self.kd_weight * share * self.distil(outputs.logits, logits_t, counts_BL)
        return (loss, outputs) if return_outputs else loss

    def _share(self, counts_BL: Tensor, items_of_step: Any) -> Any:
        """What turns the mean over this batch's tokens into its part of the mean over the step's."""
        if items_of_step is None:
            return 1.0
        devices = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return counts_BL.sum() * devices / items_of_step


def tiny_model(layers: int, width: int, vocabulary: int = 500) -> LlamaForCausalLM:
    """A Llama with random weights; nothing is downloaded."""
    shape = {"vocab_size": vocabulary, "hidden_size": width, "intermediate_size": 3 * width}
    config = LlamaConfig(num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=4, **shape)
    return LlamaForCausalLM(config)


def main() -> None:
    """A teacher reads Python's documentation, and a student learns from both."""
    text = read_documentation(500)
    train = [{"input_ids": row, "labels": row} for row in text.train_N[: len(text.train_N) // 32 * 32].view(-1, 32)]
    with tempfile.TemporaryDirectory() as folder:
        quiet: dict[str, Any] = {
            "report_to": [],
            "disable_tqdm": True,
            "save_strategy": "no",
            "dataloader_pin_memory": False,
        }
        args = TrainingArguments(folder, max_steps=150, per_device_train_batch_size=16, learning_rate=3e-3, **quiet)
        teacher, student = tiny_model(2, 96), tiny_model(1, 32)
        Trainer(teacher, args, train_dataset=train).train()
        DistillationTrainer(student, args, train_dataset=train, teacher=teacher, distil=TokenNormKD(1.0)).train()


if __name__ == "__main__":
    main()

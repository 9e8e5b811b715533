"""The images that an attack has not fooled yet. The others leave the batch, and the model is asked about these alone.

Each image's result is what it would be by itself, but for what a kernel makes of another batch size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gfnet_bench.attacks.losses import Look, Loss, look

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.watch import Watch


class Standing:
    """Images under attack, (b, ...) those that stand of n.

    Attributes:
        images: (b, 3, h, w), the originals.
        labels: (b,).
        seeds: (b,).
        watch: the model, which knows which images it is shown.
        rows: (b,), which of the n they are.
        result: (n, 3, h, w), the best found for each: what fooled it, else what had the highest loss.
        left: forward and backward passes that an image may still take; None for no limit. Those that stand have all
            taken as many.
    """

    def __init__(self, watch: Watch, images: Tensor, labels: Tensor, seeds: Tensor, budget: int | None) -> None:
        """All of them stand."""
        import torch

        self.images, self.labels, self.seeds, self.watch = images, labels, seeds, watch
        self.result = images.clone()
        self.left = budget
        self._all = watch
        self.rows = torch.arange(len(images), device=images.device)
        self._highest = torch.full((len(images),), -torch.inf, device=images.device)

    def __len__(self) -> int:
        """How many stand: b."""
        return len(self.rows)

    def affords(self, passes: int) -> bool:
        """Whether there is something to attack, and budget for so many passes more; they are then taken from it."""
        if self.left is not None:
            if self.left < passes:
                return False
            self.left -= passes
        return len(self) > 0

    def look(self, adversarial: Tensor, loss: Loss, draws: int = 1) -> Look:
        """See `losses.look`; affords 2 passes a draw."""
        return look(self.watch, adversarial, self.labels, loss, draws)

    def logits(self, adversarial: Tensor) -> Tensor:
        """(b, k); affords one pass."""
        import torch

        with torch.no_grad():
            return self.watch(adversarial)

    def note(self, adversarial: Tensor, losses: Tensor) -> None:
        """Keep the images whose losses are higher than any before, as results so far; nothing waits for the device."""
        better = losses > self._highest
        self._highest = losses.where(better, self._highest)
        self.result[self.rows] = adversarial.where(better[:, None, None, None], self.result[self.rows])

    def leave(self, adversarial: Tensor, logits: Tensor, which: Tensor | None = None) -> Any:
        """Let those go that are classified wrongly, with what fooled them; waits for the device.

        Args:
            adversarial: (b, 3, h, w).
            logits: (b, k) of them.
            which: (b,) bool, those that may go; None for all.

        Returns:
            What picks those that stay from tensors of those that stood.
        """
        fooled = logits.argmax(1) != self.labels
        fooled = fooled if which is None else fooled & which
        if not fooled.any():
            return slice(None)
        stay, gone = (~fooled).nonzero()[:, 0], fooled.nonzero()[:, 0]
        self.result[self.rows[gone]] = adversarial[gone]
        self.rows, self._highest = self.rows[stay], self._highest[stay]
        self.images, self.labels, self.seeds = self.images[stay], self.labels[stay], self.seeds[stay]
        self.watch = self._all.of(self.rows)
        return stay

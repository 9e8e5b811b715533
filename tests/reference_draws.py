"""The random numbers of the reference scripts: NumPy's old generator, read in the order those scripts read it."""

import numpy as np
import torch


class NumpyDraws:
    """`Draws` from one `RandomState` an image, so that ours and the reference get the same numbers."""

    def __init__(self, seeds):
        self.states = [np.random.RandomState(int(seed) % 2**32) for seed in seeds]

    def _each(self, draw):
        return torch.from_numpy(np.stack([np.asarray(draw(state)) for state in self.states]))

    def uniform(self, low, high, shape):
        return self._each(lambda state: state.uniform(low, high, shape))

    def normal(self, shape):
        return self._each(lambda state: state.normal(size=shape))

    def integers(self, low, high, shape):
        highs = torch.as_tensor(high).expand(len(self.states)).tolist()  # one for all, or one an image
        drawn = [np.asarray(s.randint(low, h, shape), dtype=np.int64) for s, h in zip(self.states, highs, strict=True)]
        return torch.from_numpy(np.stack(drawn))

    def poisson(self, levels, scale):
        rates = levels.numpy() / 255.0 * scale
        return torch.from_numpy(np.stack([s.poisson(r) for s, r in zip(self.states, rates, strict=True)]))

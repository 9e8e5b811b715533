"""A kernel as plain as they come, to tell whether Triton's interpreter works at all with this NumPy."""

import torch
import triton
import triton.language as tl


@triton.jit
def _sums(x, out, rows, N: tl.constexpr):
    total = tl.zeros((N, N), tl.float32)
    columns = tl.arange(0, N)
    for row in range(rows):
        total += tl.load(x + (tl.program_id(0) * rows + row) * N + columns)[None, :]
    tl.store(out + columns[:, None] * N + columns[None, :], tl.dot(total, total))


def run():
    """Raises whatever the interpreter raises."""
    x, out = torch.ones(3, 16), torch.empty(16, 16)
    _sums[1,](x, out, 3, 16)
    assert torch.equal(out, torch.full((16, 16), 144.0))

"""Functions that other libraries have and minigan has not: see `minigan.hints`."""

from __future__ import annotations

from ..tensor_hints import TENSOR

_SEED = "there is no global seed: rng = minigan.Generator(seed) is given to what draws, as rng=rng"
_DRAW = "draw with a generator of your own: rng = minigan.Generator(0), then "
_GRID = "say minigan.viz.grid.save_grid(path, x.numpy(), value_range=(-1, 1))"

FUNCTIONS: dict[str, str] = {
    "manual_seed": _SEED,
    "seed": _SEED,
    "randn": f"{_DRAW}minigan.Tensor(rng.normal(shape))",
    "rand": f"{_DRAW}minigan.Tensor(rng.uniform(shape))",
    "randint": f"{_DRAW}minigan.Tensor(rng.integers(shape, high))",
    "randperm": f"{_DRAW}numpy.argsort(rng.uniform(n))",
    "normal": f"{_DRAW}minigan.Tensor(rng.normal(shape, mean=0, std=1))",
    "bernoulli": f"{_DRAW}rng.uniform(shape) < p",
    "randn_like": f"{_DRAW}minigan.Tensor(rng.normal(x.shape))",
    "rand_like": f"{_DRAW}minigan.Tensor(rng.uniform(x.shape))",
    "jit": "operations run as they are called, by kernels that are compiled already: leave it out",
    "compile": (
        "operations run as they are called, by kernels that are compiled already: leave it out"
    ),
    "vmap": "write the function for a whole batch: the first axis is that of the samples",
    "value_and_grad": "loss = f(x), then minigan.grad(loss, x), which keeps x's structure",
    "backward": TENSOR["backward"],
    "autograd": "gradients are minigan.grad(output, inputs)",
    "inference_mode": "say minigan.no_grad()",
    "set_grad_enabled": "say minigan.no_grad() or minigan.enable_grad()",
    "is_grad_enabled": "say minigan.recording.is_recording()",
    "from_numpy": "say minigan.Tensor(array)",
    "as_tensor": "say minigan.Tensor(data)",
    "array": "say minigan.Tensor(data)",
    "asarray": "say minigan.Tensor(data)",
    "is_tensor": "say isinstance(x, minigan.Tensor)",
    "set_num_threads": "say numba.set_num_threads(n), or set NUMBA_NUM_THREADS before the start",
    "get_num_threads": "say numba.get_num_threads()",
    "set_default_dtype": "numbers become float32; give a dtype, or net.astype(numpy.float64)",
    "use_deterministic_algorithms": "results are the same bytes each time on a CPU; a GPU's run "
    "says so with --deterministic",
    "interpolate": "say minigan.upsample(x, factor), by an integer and to the nearest pixel",
    "functional": "its functions are minigan's own, as minigan.relu(x), and minigan.losses",
    "utils": "what is in torch.utils is in minigan.data and minigan.optim",
    "vutils": _GRID,
    "make_grid": _GRID,
    "save_image": _GRID,
    "torchvision": "pictures are in minigan.viz, data sets in minigan.data",
    "lr_scheduler": "say minigan.optim.Adam(params, lr=minigan.optim.cosine(1e-3, 0, 1000))",
    "cuda": "net.to('cuda') moves a network; `minigan doctor` says whether there is a GPU",
    "mm": "say a @ b",
    "bmm": "say a @ b, which multiplies stacked matrices too",
    "dot": "say a @ b",
    "outer": "say minigan.einsum('i,j->ij', a, b)",
    "norm": "say minigan.sqrt(minigan.sum(x * x, axis))",
    "hstack": "say minigan.concatenate(tensors, axis=1)",
    "vstack": "say minigan.concatenate(tensors, axis=0)",
    "Parameter": "say minigan.nn.Parameter(data)",
    "DataLoader": "say minigan.data.Batches(minigan.data.from_arrays(images, range=(0, 1)), 64, "
    "seed=0, output_range=(-1, 1))",
    **{
        name: TENSOR[name]
        for name in (
            "prod", "repeat", "tile", "chunk", "split", "unbind", "flip", "gather", "take", "sort",
            "topk", "argsort", "masked_select", "index_select", "round", "floor", "ceil", "trunc",
            "sign", "isnan", "isfinite", "isinf", "equal", "allclose", "nonzero", "rsqrt",
            "reciprocal",
        )
    },
}  # fmt: skip

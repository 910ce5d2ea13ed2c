"""How PyTorch's layers that there are not are written here: see `minigan.hints`."""

from __future__ import annotations

_FUNCTION = "a function is a layer in nn.Sequential, here lambda x: "
_RECURRENT = (
    "there are no recurrent layers yet; a cell is a module of nn.Linear layers that is called once "
    "for each step"
)
_ATTENTION = (
    "there are no attention layers yet; one head is minigan.softmax(q @ minigan.swapaxes(k, -1, -2)"
    " / d**0.5) @ v"
)
_LAZY = "sizes are never guessed: take the layer without Lazy, with its number of inputs"
_ADAPTIVE = (
    "for one pixel a channel say minigan.{0}(x, (2, 3), keepdims=True), for more nn.{1}Pool2d with "
    "a window that divides the image"
)
_ZEROS = "say minigan.pad(x, ((0, 0), (0, 0), (p, p), (p, p))), or padding=p of the next layer"
_BORDER = (
    "a border is made of slices, as minigan.concatenate([x[..., p:0:-1], x, x[..., -2:-2 - p:-1]], "
    "axis=-1) for one that reflects the columns"
)
_VOLUME = "images have two axes, (N, C, H, W), and sequences one, (N, C, L)"
_SEQUENCE = "say {0} with a height of 1, of minigan.expand_dims(x, 2), and minigan.squeeze(y, 2)"
_BINARY = "say minigan.losses.binary_cross_entropy_with_logits(logits, target)"
_CLASSES = "say minigan.losses.softmax_cross_entropy(logits, labels)"
_SQUARES = "say minigan.mean(minigan.square(prediction - target))"
_ABSOLUTE = "say minigan.mean(minigan.absolute(prediction - target))"
_MASK = (
    "its mask is x * minigan.Tensor(rng.dropout_mask((N, C, 1, 1), keep)), with a generator rng; "
    "nn.Dropout drops each value alone"
)
_PARTS = "a list or dict of parameters is found by itself: self.scales = [Parameter(...), ...]"
_PARALLEL = "there is one device a run; leave it out"
HINTS: dict[str, str] = {
    # losses
    "BCEWithLogitsLoss": _BINARY,
    "BCELoss": f"losses take logits, without a sigmoid before them: {_BINARY}",
    "CrossEntropyLoss": _CLASSES,
    "NLLLoss": f"losses take logits, without a log_softmax before them: {_CLASSES}",
    "MSELoss": _SQUARES,
    "L1Loss": _ABSOLUTE,
    "SmoothL1Loss": f"there is no smooth one; {_ABSOLUTE}",
    "HuberLoss": f"there is none; {_ABSOLUTE}",
    "HingeEmbeddingLoss": "say minigan.losses.hinge_discriminator_loss(real, fake)",
    "KLDivLoss": "of a normal distribution it is minigan.penalties.gaussian_kl(mean, log_var)",
    # activations
    "LogSoftmax": f"{_FUNCTION}minigan.log_softmax(x, 1)",
    "Softmax2d": "say nn.Softmax(dim=1)",
    "Softmin": f"{_FUNCTION}minigan.softmax(-x, 1)",
    "LogSigmoid": f"{_FUNCTION}-minigan.softplus(-x)",
    "ReLU6": f"{_FUNCTION}minigan.clip(x, 0, 6)",
    "Hardtanh": f"{_FUNCTION}minigan.clip(x, -1, 1)",
    "Hardsigmoid": f"{_FUNCTION}minigan.clip(x / 6 + 0.5, 0, 1)",
    "Hardswish": f"{_FUNCTION}x * minigan.clip(x / 6 + 0.5, 0, 1)",
    "Swish": "it is nn.SiLU()",
    "Mish": f"{_FUNCTION}x * minigan.tanh(minigan.softplus(x))",
    "SELU": f"{_FUNCTION}1.0507009873554805 * minigan.elu(x, 1.6732632423543772)",
    "CELU": f"{_FUNCTION}alpha * minigan.elu(x / alpha)",
    "Softsign": f"{_FUNCTION}x / (1 + minigan.absolute(x))",
    "GLU": f"{_FUNCTION}x[:, :n] * minigan.sigmoid(x[:, n:])",
    "RReLU": "say nn.LeakyReLU(slope)",
    # recurrent and attention
    **dict.fromkeys(("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"), _RECURRENT),
    **dict.fromkeys(
        ("MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerEncoderLayer",
         "TransformerDecoder", "TransformerDecoderLayer"),
        _ATTENTION,
    ),
    # convolution, pooling, borders
    "ConvTranspose1d": _SEQUENCE.format("nn.ConvTranspose2d"),
    "InstanceNorm1d": _SEQUENCE.format("nn.InstanceNorm2d"),
    **dict.fromkeys(
        ("Conv3d", "ConvTranspose3d", "MaxPool3d", "AvgPool3d", "BatchNorm3d", "InstanceNorm3d",
         "AdaptiveAvgPool3d", "Dropout3d", "ReflectionPad3d", "ZeroPad3d"),
        _VOLUME,
    ),
    "AdaptiveAvgPool2d": _ADAPTIVE.format("mean", "Avg"),
    "AdaptiveMaxPool2d": _ADAPTIVE.format("max", "Max"),
    "AdaptiveAvgPool1d": "for one value a channel say minigan.mean(x, 2, keepdims=True)",
    "AdaptiveMaxPool1d": "for one value a channel say minigan.max(x, 2, keepdims=True)",
    "LPPool2d": "say minigan.sqrt(minigan.avg_pool2d(minigan.square(x), k) * k * k)",
    "MaxUnpool2d": "nn.Upsample(scale_factor=2) makes images larger",
    "ZeroPad2d": _ZEROS,
    "ConstantPad2d": f"{_ZEROS}; minigan.pad takes a value",
    "ZeroPad1d": "say minigan.pad(x, ((0, 0), (0, 0), (p, p))), or padding=p of the next layer",
    "ReflectionPad2d": _BORDER,
    "ReflectionPad1d": _BORDER,
    "ReplicationPad2d": _BORDER,
    "ReplicationPad1d": _BORDER,
    "CircularPad2d": _BORDER,
    "PixelUnshuffle": (
        "say minigan.reshape(minigan.transpose(minigan.reshape(x, (N, C, H, r, W, r)), "
        "(0, 1, 3, 5, 2, 4)), (N, C * r * r, H, W))"
    ),
    "UpsamplingNearest2d": "say nn.Upsample(scale_factor=2)",
    "UpsamplingBilinear2d": "say nn.Upsample(scale_factor=2), and a convolution after it",
    # the rest
    "Dropout1d": _MASK.replace("(N, C, 1, 1)", "(N, C, 1)"),
    "Dropout2d": _MASK,
    "AlphaDropout": "there is none; nn.Dropout sets values to 0",
    "RMSNorm": (
        "say x / minigan.sqrt(minigan.mean(x * x, -1, keepdims=True) + eps), times a parameter"
    ),
    "SyncBatchNorm": "say nn.BatchNorm2d",
    "LocalResponseNorm": "nn.GroupNorm or nn.LayerNorm normalise each sample",
    "Bilinear": "say minigan.einsum('ni,kij,nj->nk', x, weight, y)",
    "CosineSimilarity": (
        "say minigan.sum(x * y, 1) / minigan.sqrt(minigan.sum(x * x, 1) * minigan.sum(y * y, 1))"
    ),
    "PairwiseDistance": "say minigan.sqrt(minigan.sum(minigan.square(x - y), 1))",
    "EmbeddingBag": "say minigan.mean(embedding(labels), 1)",
    "ParameterList": _PARTS,
    "ParameterDict": _PARTS,
    **dict.fromkeys(("DataParallel", "parallel"), _PARALLEL),
    **dict.fromkeys(
        ("LazyLinear", "LazyConv1d", "LazyConv2d", "LazyConvTranspose2d", "LazyBatchNorm1d",
         "LazyBatchNorm2d"),
        _LAZY,
    ),
    "utils": (
        "spectral norm is nn.SpectralNorm(layer, rng=rng), weight norm nn.WeightNormLinear, and "
        "gradients are clipped by minigan.optim.clip_by_norm"
    ),
}  # fmt: skip

# Of torch.nn.functional, what is not called so in minigan.
FUNCTIONS: dict[str, str] = {
    "binary_cross_entropy_with_logits": HINTS["BCEWithLogitsLoss"],
    "binary_cross_entropy": HINTS["BCELoss"],
    "cross_entropy": HINTS["CrossEntropyLoss"],
    "nll_loss": HINTS["NLLLoss"],
    "mse_loss": HINTS["MSELoss"],
    "l1_loss": HINTS["L1Loss"],
    "smooth_l1_loss": HINTS["SmoothL1Loss"],
    "huber_loss": HINTS["HuberLoss"],
    "kl_div": HINTS["KLDivLoss"],
    "linear": "say x @ minigan.transpose(weight) + bias, or nn.Linear",
    "embedding": "say weight[labels], or nn.Embedding",
    "dropout": "nn.Dropout draws its mask with a generator, in training alone",
    "dropout2d": HINTS["Dropout2d"],
    "interpolate": "say minigan.upsample(x, factor), by an integer and to the nearest pixel",
    "pixel_unshuffle": HINTS["PixelUnshuffle"],
    "adaptive_avg_pool2d": HINTS["AdaptiveAvgPool2d"],
    "adaptive_max_pool2d": HINTS["AdaptiveMaxPool2d"],
    "logsigmoid": "say -minigan.softplus(-x)",
    "relu6": "say minigan.clip(x, 0, 6)",
    "hardtanh": "say minigan.clip(x, -1, 1)",
    "hardsigmoid": "say minigan.clip(x / 6 + 0.5, 0, 1)",
    "hardswish": "say x * minigan.clip(x / 6 + 0.5, 0, 1)",
    "mish": "say x * minigan.tanh(minigan.softplus(x))",
    "selu": "say 1.0507009873554805 * minigan.elu(x, 1.6732632423543772)",
    "celu": "say alpha * minigan.elu(x / alpha)",
    "softsign": "say x / (1 + minigan.absolute(x))",
    "glu": "say x[:, :n] * minigan.sigmoid(x[:, n:])",
    "normalize": "say x / minigan.sqrt(minigan.sum(x * x, 1, keepdims=True))",
    "cosine_similarity": HINTS["CosineSimilarity"],
    "pairwise_distance": HINTS["PairwiseDistance"],
    "one_hot": "say numpy.eye(classes, dtype=numpy.float32)[labels]",
    "scaled_dot_product_attention": _ATTENTION,
    "multi_head_attention_forward": _ATTENTION,
    "gumbel_softmax": (
        "say minigan.softmax((logits - minigan.log(-minigan.log(u))) / tau), with u from "
        "rng.uniform(shape)"
    ),
    "unfold": "minigan_kernels.im2col(x, kernel=(kH, kW)) has the windows of an array",
    **dict.fromkeys(
        ("grid_sample", "affine_grid"), "images are not sampled at places between pixels"
    ),
    **dict.fromkeys(("conv3d", "conv_transpose3d", "max_pool3d", "avg_pool3d"), _VOLUME),
    "conv_transpose1d": _SEQUENCE.format("minigan.conv_transpose2d"),
}

_MADE_ON = (
    "a layer is made on the CPU in float32; net.to('cuda') and net.astype(numpy.float64) convert it"
)
# Arguments of PyTorch's layers: the name that ours has, or how it is done here.
ARGUMENTS: dict[str, str] = {
    "num_features": "channels",
    "normalized_shape": "shape",
    "num_embeddings": "count",
    "embedding_dim": "features",
    "negative_slope": "slope",
    "scale_factor": "factor",
    "padding_mode": "zeros are what is padded with; minigan.pad(x, width, value) pads before it",
    "inplace": "a tensor is never written in place; leave it out",
    "device": _MADE_ON,
    "dtype": _MADE_ON,
    "affine": "it always has a gamma and a beta; learn_scale=False of a BatchNorm fixes gamma",
    "elementwise_affine": "it always has a gamma and a beta; leave it out",
    "track_running_stats": "running moments are always kept; net.eval() uses them",
    "padding_idx": "every symbol has a vector that is learned; leave it out",
    "max_norm": "no vector is limited; optim.project_to_sphere(table) scales them after a step",
}

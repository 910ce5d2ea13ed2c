"""CPU twins."""

from ..reference.norm import moments as moments
from ..reference.norm import batch_norm as batch_norm
from ..reference.norm import batch_norm_backward as batch_norm_backward
from ..reference.norm import batch_norm_inference_backward as batch_norm_inference_backward

"""CPU twins."""

from ..reference.random import random_bits as random_bits
from ..reference.random import uniform as uniform
from ..reference.random import normal as normal
from ..reference.random import dropout_mask as dropout_mask

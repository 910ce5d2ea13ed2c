"""CPU twins."""

from ..reference.optim import sgd as sgd
from ..reference.optim import rmsprop as rmsprop
from ..reference.optim import adam as adam

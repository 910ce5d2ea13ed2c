"""CPU twins."""

from ..reference.activation import leaky_relu as leaky_relu
from ..reference.activation import leaky_relu_dx as leaky_relu_dx
from ..reference.activation import sigmoid as sigmoid
from ..reference.activation import softplus as softplus
from ..reference.activation import bias_leaky_relu as bias_leaky_relu
from ..reference.activation import bias_leaky_relu_backward as bias_leaky_relu_backward
from ..reference.activation import bias_tanh as bias_tanh
from ..reference.activation import bias_tanh_backward as bias_tanh_backward
from ..reference.activation import bias_sigmoid as bias_sigmoid
from ..reference.activation import bias_sigmoid_backward as bias_sigmoid_backward

"""Models: the small nets that claims and studies train, adapters from flax, and per-example losses."""

from jaxgen._core.convolution import convolution_by_patches as convolution_by_patches
from jaxgen.models.adapters import from_linen as from_linen
from jaxgen.models.adapters import from_nnx as from_nnx
from jaxgen.models.losses import clip_loss as clip_loss
from jaxgen.models.losses import half_squared_error as half_squared_error
from jaxgen.models.losses import loss_fn as loss_fn
from jaxgen.models.losses import softmax_cross_entropy as softmax_cross_entropy
from jaxgen.models.losses import zero_one as zero_one
from jaxgen.models.networks import Model as Model
from jaxgen.models.networks import cnn as cnn
from jaxgen.models.networks import linear as linear
from jaxgen.models.networks import mlp as mlp
from jaxgen.models.networks import two_layer_relu as two_layer_relu
from jaxgen.models.saved import load_params as load_params

__all__ = [
    "Model",
    "clip_loss",
    "cnn",
    "convolution_by_patches",
    "from_linen",
    "from_nnx",
    "half_squared_error",
    "linear",
    "load_params",
    "loss_fn",
    "mlp",
    "softmax_cross_entropy",
    "two_layer_relu",
    "zero_one",
]

"""Compression: what of a classifier few numbers keep, and bounds from counting these."""

from jaxgen.bounds.compression.certificates import CompressedNet as CompressedNet
from jaxgen.bounds.compression.certificates import compress_network as compress_network
from jaxgen.bounds.compression.codes import adaptive_code_length as adaptive_code_length
from jaxgen.bounds.compression.codes import integer_code_length as integer_code_length
from jaxgen.bounds.compression.compressibility import Quantized as Quantized
from jaxgen.bounds.compression.compressibility import compression_bound as compression_bound
from jaxgen.bounds.compression.compressibility import compression_error as compression_error
from jaxgen.bounds.compression.compressibility import is_compressible as is_compressible
from jaxgen.bounds.compression.compressibility import quantize as quantize
from jaxgen.bounds.compression.linear_classifiers import SparsificationMoments as SparsificationMoments
from jaxgen.bounds.compression.linear_classifiers import gaussian_sketch as gaussian_sketch
from jaxgen.bounds.compression.linear_classifiers import jl_rows as jl_rows
from jaxgen.bounds.compression.linear_classifiers import sketch_compress as sketch_compress
from jaxgen.bounds.compression.linear_classifiers import sparsification_moments as sparsification_moments
from jaxgen.bounds.compression.linear_classifiers import sparsify_linear as sparsify_linear
from jaxgen.bounds.compression.lowrank import LowRankNetwork as LowRankNetwork
from jaxgen.bounds.compression.lowrank import lowrank_compression_bound as lowrank_compression_bound
from jaxgen.bounds.compression.lowrank import lowrank_network as lowrank_network
from jaxgen.bounds.compression.spectral_complexity import spectral_complexity as spectral_complexity
from jaxgen.bounds.compression.spectral_complexity import truncation_ranks as truncation_ranks
from jaxgen.bounds.compression.truncation import TruncatedMatrix as TruncatedMatrix
from jaxgen.bounds.compression.truncation import TruncatedNetwork as TruncatedNetwork
from jaxgen.bounds.compression.truncation import TruncationErrors as TruncationErrors
from jaxgen.bounds.compression.truncation import lipschitz_upper_bound as lipschitz_upper_bound
from jaxgen.bounds.compression.truncation import perturbation_bound as perturbation_bound
from jaxgen.bounds.compression.truncation import relu_network as relu_network
from jaxgen.bounds.compression.truncation import stable_rank as stable_rank
from jaxgen.bounds.compression.truncation import truncate_network as truncate_network
from jaxgen.bounds.compression.truncation import truncate_svd as truncate_svd
from jaxgen.bounds.compression.truncation import truncation_errors as truncation_errors

__all__ = [
    "CompressedNet",
    "LowRankNetwork",
    "Quantized",
    "SparsificationMoments",
    "TruncatedMatrix",
    "TruncatedNetwork",
    "TruncationErrors",
    "adaptive_code_length",
    "compress_network",
    "compression_bound",
    "compression_error",
    "gaussian_sketch",
    "integer_code_length",
    "is_compressible",
    "jl_rows",
    "lipschitz_upper_bound",
    "lowrank_compression_bound",
    "lowrank_network",
    "perturbation_bound",
    "quantize",
    "relu_network",
    "sketch_compress",
    "sparsification_moments",
    "sparsify_linear",
    "spectral_complexity",
    "stable_rank",
    "truncate_network",
    "truncate_svd",
    "truncation_errors",
    "truncation_ranks",
]

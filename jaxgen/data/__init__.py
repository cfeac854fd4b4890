"""Data: image sets read from files, label corruption, distortions, subsets of a pool, and synthetic problems solved in closed form."""

from jaxgen.data.augmentation import distort_images as distort_images
from jaxgen.data.image_sets import Dataset as Dataset
from jaxgen.data.image_sets import load as load
from jaxgen.data.label_noise import corrupt_labels as corrupt_labels
from jaxgen.data.linear_gaussian import LinearGaussian as LinearGaussian
from jaxgen.data.linear_gaussian import LinearGaussianSolution as LinearGaussianSolution
from jaxgen.data.majority import MajorityVote as MajorityVote
from jaxgen.data.pools import Subsets as Subsets
from jaxgen.data.pools import subsets as subsets
from jaxgen.data.readers import read_cifar10 as read_cifar10
from jaxgen.data.readers import read_idx as read_idx
from jaxgen.data.readers import read_npz as read_npz

__all__ = [
    "Dataset",
    "LinearGaussian",
    "LinearGaussianSolution",
    "MajorityVote",
    "Subsets",
    "corrupt_labels",
    "distort_images",
    "load",
    "read_cifar10",
    "read_idx",
    "read_npz",
    "subsets",
]

"""Folders with a manifest and hashes, and memory-mapped safetensors: what every artifact is made of."""

from coe_routers.store._folder import Folder, kind_of, read_folder, write_folder
from coe_routers.store._tensors import read_tensors, tensor_bytes

__all__ = ["Folder", "kind_of", "read_folder", "read_tensors", "tensor_bytes", "write_folder"]

"""The tensors of a BERT as its published files hold them, by their names without the prefix `bert.`, in float32."""

import pathlib
import re

import numpy


def read(path: pathlib.Path) -> dict[str, numpy.ndarray]:
    tensors = from_safetensors(path) if path.suffix == ".safetensors" else from_quantized_onnx(path)
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}


def from_safetensors(path: pathlib.Path) -> dict[str, numpy.ndarray]:
    import safetensors.numpy

    return safetensors.numpy.load_file(path)


def from_quantized_onnx(path: pathlib.Path) -> dict[str, numpy.ndarray]:
    """Of a dynamically quantized export: matrices are integers `X_quantized` with `X_scale` and `X_zero_point`. Those of layers have lost their
    names, which stand in the nodes that multiply by them: `/bert/encoder/layer.0/output/dense/MatMul_quant`."""
    import onnx
    import onnx.numpy_helper

    graph = onnx.load(path).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def widened(name: str) -> numpy.ndarray:
        scale, zero = (stored[f"{name}_{part}"].astype(numpy.float32) for part in ["scale", "zero_point"])
        return (stored[f"{name}_quantized"].astype(numpy.float32) - zero) * scale

    tensors = {}
    for name, tensor in stored.items():
        if name.endswith("_quantized") and "embeddings" in name:
            tensors[name.removesuffix("_quantized")] = widened(name.removesuffix("_quantized"))
        elif tensor.dtype == numpy.float32 and name.endswith((".weight", ".bias")):
            tensors[name] = tensor
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            layer = re.sub(r"/(Gemm_)?MatMul_quant$", "", node.name).strip("/").replace("/", ".")
            # ONNX multiplies by the transpose of what PyTorch keeps.
            tensors[f"{layer}.weight"] = widened(node.input[1].removesuffix("_quantized")).T
    return tensors

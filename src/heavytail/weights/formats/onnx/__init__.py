"""ONNX: a graph in protobuf."""

"""TensorFlow Lite: a graph in a flatbuffer."""

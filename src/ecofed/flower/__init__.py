"""EcoFed over Flower: a ServerApp, a ClientApp, and the transport between them (``ecofed[flower]``).

The core knows nothing of Flower. A Flower message carries one array of bytes: our own messages, one after the other.
``ecofed.flower.device`` needs no PyTorch where ONNX Runtime is installed.
"""

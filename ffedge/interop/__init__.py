"""Where ffedge meets other libraries; each file imports its own, and only when it is asked to.

``torch_backprop`` trains the same network with PyTorch, ``ledger`` counts the bytes it takes.
``onnx_box`` and ``torch_box`` make black boxes of ONNX models and PyTorch modules.
"""

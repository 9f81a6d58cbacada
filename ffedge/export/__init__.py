"""Models for other runtimes.

``onnx_writer`` knows the file format, ``onnx_interface`` what every exported classifier takes
and gives, ``onnx_float`` and ``onnx_int8`` the two arithmetics, ``onnx_check`` the judges,
``onnx_compare`` what they demand, ``onnx_file`` puts them together.
"""

from .onnx_file import ExportReport, export_onnx

__all__ = ["ExportReport", "export_onnx"]

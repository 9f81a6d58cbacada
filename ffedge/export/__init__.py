"""Models for other runtimes.

``onnx_writer`` knows the file format, ``onnx_interface`` what every exported classifier takes
and gives, ``onnx_float`` the float32 arithmetic, ``onnx_check`` the judges, ``onnx_file`` puts
them together.
"""

from .onnx_file import ExportReport, export_onnx

__all__ = ["ExportReport", "export_onnx"]

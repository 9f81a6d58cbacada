"""Hostile files: what reads them, how they are made, and what counts as a crash.

targets      every reader of files from outside, as a function of bytes
seeds        good files, written by ffedge and NumPy
mutations    changes of plain bytes; ``trees`` of JSON, ``containers`` and ``archives`` of formats
judge        runs a reader on bytes: refused in words, read, or crashed
campaign     many inputs in child processes that are limited and watched
bad_readers  readers that must be found out
"""

"""What a microcontroller runs, lowered for its core from the same source that runs here.

``checkpoint`` keeps the trained weights in flash through power cuts.
"""

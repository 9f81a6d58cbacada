"""What a microcontroller runs, lowered for its core from the same source that runs here.

``program`` trains and predicts by single samples, ``checkpoint`` keeps the trained weights in flash
through power cuts, ``entry`` gives both the arguments of C functions.
"""

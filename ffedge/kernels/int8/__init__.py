"""The int8 arithmetic, defined once; the same bits on every machine.

Values. Activations are u7 (0..127 in uint8), weights s8 (-127..127 in int8), biases and sums
int32. A real number is its integer times a power of two: activations of every layer's input
2**-INPUT_EXP, of its output 2**-OUTPUT_EXP, weights 2**-e with an e per layer
(``weight_exponent``).

Layouts. Activations are rows of bytes, padded with zeros to a multiple of 16. Weights are
(panels, ceil(I/4), 16, 4): the byte of input 4k+j and unit 16p+n is ``[p, k, n, j]``.

Rounding. Forward: halves up, the half folded into the bias, one shift. Updates: stochastic, by
random numbers that depend on seed, step, layer, input and unit alone.

``vector`` holds the instruction sets, ``dot4`` and ``single`` the vector primitives of a batch and
of one sample, ``scalar`` and ``packed`` the latter for microcontrollers, ``dense`` product and
update, ``stream`` one sample's update, ``normalize`` the length, ``classes`` the softmax in
integers, ``readout`` and ``group`` the rules' errors, ``step`` them all in order, ``input`` the
way in.
"""

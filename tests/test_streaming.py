"""What a description of streamed layers says, and what it refuses."""

import pytest

from ffedge.buffers import plan_training
from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import hinton
from ffedge.streaming import Streaming, bounds
from ffedge.tensor import TensorSpec

NETWORK = Network.dense(9, (40, 33, 70), 3)


def test_a_layer_may_be_resident_whole_or_in_slices():
    streaming = Streaming((0, 3, 2))

    assert [streaming.streams(i) for i in range(3)] == [False, True, True]
    assert [streaming.slices(NETWORK, i) for i in range(3)] == [False, False, True]


def test_every_layer_streams_whole_by_default():
    assert Streaming.of(NETWORK) == Streaming((3, 3, 5))


@pytest.mark.parametrize(
    ("options", "turns"),
    [
        ({}, [(1, 1), (2, 2), (3, 3)]),
        ({"ahead": True}, [(0, 1), (1, 2), (2, 3)]),
        ({"ahead": True, "behind": True}, [(0, 2), (1, 3), (2, 3)]),
    ],
)
def test_reading_ahead_and_writing_behind_take_a_phase_each(options, turns):
    streaming = Streaming.of(NETWORK, **options)

    assert [streaming.turn(NETWORK, i) for i in range(3)] == turns


def test_a_layer_in_slices_keeps_to_its_own_phase():
    streaming = Streaming((2, 2, 2), ahead=True, behind=True)

    assert [streaming.turn(NETWORK, i) for i in range(3)] == [(1, 1), (2, 2), (3, 3)]


def test_a_slice_of_the_weight_is_in_memory_and_all_of_the_rest():
    spec = TensorSpec((5, 33, 16), "float32")

    assert Streaming((0, 3, 2)).window(2, "weight", spec).shape == (2, 33, 16)
    assert Streaming((0, 3, 2)).window(2, "bias", spec) == spec
    assert Streaming((0, 3, 0)).window(2, "weight", spec) == spec


def test_slices_cover_all_panels():
    assert bounds(7, 3) == [(0, 3), (3, 6), (6, 7)]


@pytest.mark.parametrize("panels", [(-1,), (1.0,), (True,)])
def test_panels_that_are_no_counts_are_refused(panels):
    with pytest.raises(ConfigError, match="expected panels of 0 or more, got"):
        Streaming(panels)


@pytest.mark.parametrize("panels", [(3, 3), (3, 3, 6), (3, 3, 5, 0)])
def test_panels_that_do_not_belong_to_the_layers_are_refused(panels):
    with pytest.raises(ConfigError, match=r"at most its own panels \[3, 3, 5\], got"):
        plan_training(NETWORK, Recipe(), None, Streaming(panels))


def test_two_threads_are_refused_beside_a_stream():
    network = Network.dense(9, (40, 33), 3, precision="int8")

    with pytest.raises(ConfigError, match="expected one thread where layers are streamed"):
        plan_training(network, Recipe(optimizer=SGD(), threads=2), None, Streaming.of(network))


def test_kept_outputs_need_a_layer_that_has_finished_and_does_not_see_labels():
    with pytest.raises(ConfigError, match="expected schedule layerwise where outputs are kept"):
        plan_training(NETWORK, Recipe(), None, Streaming((3, 3, 5), outputs=True))

    paired = Network.dense(9, (40, 33, 70), 3, hinton())
    with pytest.raises(ConfigError, match="got the rule contrast, which shows it other"):
        plan_training(
            paired, Recipe(schedule="layerwise"), None, Streaming((3, 3, 5), outputs=True)
        )

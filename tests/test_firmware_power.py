"""Power cuts at every operation of the flash: nothing is lost, and known-bad ways do lose."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ffedge.errors import ConfigError
from ffedge.kernels import provider
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import Group
from ffedge.trainer import Trainer
from firmware_sim import lives
from firmware_sim.bad_checkpoints import WAYS
from firmware_sim.flash import Flash
from firmware_sim.host import HostDevice, small_device
from firmware_sim.power import (
    Campaign,
    as_promised,
    as_words,
    campaigns,
    describe,
    random_cuts,
    record,
    survive,
    survive_all,
    table,
)

#: Samples between two saves, and saves of a run: slot 0, slot 1, slot 0 again.
SAMPLES, SAVES = 7, 3

#: Pages and words like those of the nRF52840 and of the STM32L4, but for the size of a page.
PARTS = {"4-byte words": (256, 4), "8-byte words": (512, 8)}

jitted = pytest.mark.skipif(provider.NAME != "jit", reason="so many lives need the JIT")


@pytest.fixture(scope="module", params=PARTS)
def campaign(request):
    device = small_device(*PARTS[request.param])
    return Campaign(device.store, as_words(record(device, SAVES, SAMPLES)), seed=1)


@jitted
def test_a_cut_at_any_operation_in_any_mode_loses_nothing(campaign):
    result = campaign.single()

    assert result.lives == result.cuts == 4 * campaign.operations
    assert campaign.operations > SAVES * 50
    assert result.clean
    assert result.identical == result.lives


@jitted
def test_a_second_cut_anywhere_up_to_behind_the_next_save_loses_nothing(campaign):
    result = campaign.nested()

    assert result.lives > 16 * campaign.operations * campaign.per_save * 0.9
    assert result.cuts > 1.9 * result.lives
    assert result.clean


@jitted
def test_ten_thousand_lives_with_random_cuts_lose_nothing(campaign):
    result = campaign.random(10_000)

    assert result.lives == 10_000
    assert result.cuts > 15_000
    assert result.clean
    assert campaign.random(500).cuts == campaign.random(500).cuts


@jitted
@pytest.mark.parametrize("way", WAYS[1:])
def test_known_bad_ways_lose_in_the_same_campaign(campaign, way):
    results = [campaign.single(way), campaign.random(way=way)]
    if way == "newest-stays":
        # Only two cuts in a row find it, the first of them in the CRC or the commit word.
        results.append(campaign.nested(way, every=3 if campaign.store.word_bytes == 4 else 1))

    assert sum(result.lost + result.not_identical for result in results) > 0
    assert not all(result.clean for result in results)
    assert any(result.failure for result in results)


@pytest.mark.parametrize("part", PARTS)
def test_really_trained_again_after_cuts_the_weights_are_the_same(part):
    device = small_device(*PARTS[part])
    states = record(device, SAVES, SAMPLES)
    operations = Campaign(device.store, as_words(states)).operations
    every = range(1, operations + 1, 1 if provider.NAME == "jit" else 29)
    cuts = [[(at, mode)] for at in every for mode in range(4)]
    cuts += random_cuts(300 if provider.NAME == "jit" else 10, operations, seed=4)

    result = survive_all(device, states, SAMPLES, cuts, what="host")

    assert len(set(states)) == SAVES + 1
    assert result.lives == len(cuts)
    assert result.cuts >= len(every) * 4
    assert result.clean


def test_a_group_network_of_two_layers_survives_with_both_counters():
    small = small_device(rule=Group())
    network = Network.dense(16, (16, 16), 3, Group(), precision="int8")
    trainer = Trainer(network, Recipe(SGD(0.3), batch_size=1))
    trainer.learn_scaling(small.data)
    store = small.store.of(trainer.plan, 1024, 4, 9, counters=2)
    device = HostDevice(trainer, small.data, store, Flash(store.nbytes, 1024))
    states = record(device, 2, 5)
    operations = Campaign(store, as_words(states)).operations

    result = survive_all(device, states, 5, random_cuts(20, operations, seed=2), what="group")

    assert np.frombuffer(states[-1], np.uint32)[-2:].tolist() == [10, 10]
    assert result.clean


class Forgetful(HostDevice):
    """Comes back with one weight wrong."""

    def load(self):
        status = super().load()
        if self.learned():
            self.trainer.arena["layer0.weight"].reshape(-1)[0] ^= 1
        return status


class Amnesiac(HostDevice):
    """Comes back as new, whatever it saved."""

    def load(self):
        super().load()
        self._start()
        return 1


@pytest.mark.parametrize(("kind", "ending"), [(Forgetful, lives.DIFFERENT), (Amnesiac, lives.LOST)])
def test_a_device_that_comes_back_wrong_is_found(kind, ending):
    good = small_device()
    device = kind(good.trainer, good.data, good.store, good.flash)
    states = record(device, SAVES, SAMPLES)

    assert survive(device, states, SAMPLES, [(150, 0)]) == (ending, 1)


def test_results_are_a_table_and_json():
    device = small_device()
    states = record(device, 1, 1)

    result = survive_all(device, states, 1, [[(3, 2)], [(5, 1), (9, 3)]], what="two lives")

    (read,) = json.loads(json.dumps(describe([result])))
    assert (read["lives"], read["cuts"], read["identical"], read["lost"]) == (2, 3, 2, 0)
    head, line = table([result]).splitlines()
    assert head.split()[:4] == ["power", "cut", "at", "checkpoint"]
    assert line.split()[:7] == ["two", "lives", "right", "2", "3", "2", "0"]


def test_a_campaign_without_saves_or_with_other_states_is_refused():
    device = small_device()
    states = as_words(record(device, 2, 1))

    with pytest.raises(ConfigError, match="at least one save of 372 B"):
        Campaign(device.store, states[:1])
    with pytest.raises(ConfigError, match="372 B, got an array of shape"):
        Campaign(device.store, states[:, 1:])
    with pytest.raises(ConfigError, match="way of right, one-slot"):
        Campaign(device.store, states).single("upside-down")


def test_a_host_device_refuses_batches_and_foreign_sizes():
    device = small_device()
    batches = Trainer(device.trainer.network, Recipe(SGD(0.1), batch_size=2))

    with pytest.raises(ConfigError, match="batch size 1, got int8 and 2"):
        HostDevice(batches, device.data, device.store, device.flash)
    with pytest.raises(ConfigError, match=r"expected a flash of 1,024 B and 1 counters"):
        HostDevice(device.trainer, device.data, device.store, Flash(2048, 256))


@jitted
def test_all_campaigns_lose_nothing_but_by_the_known_bad_ways():
    results = campaigns(random=2000)

    assert as_promised(results)
    assert [result.way for result in results] == [*["right"] * 4, *WAYS[1:]]
    assert sum(result.lost + result.not_identical for result in results[:4]) == 0
    assert all(result.lost + result.not_identical > 0 for result in results[4:])
    assert not as_promised([*results[:4], replace(results[4], way="right")])
    assert not as_promised([replace(results[0], way="one-slot")])
    assert len(table(results).splitlines()) == 9
    assert describe(results)[0]["clean"]

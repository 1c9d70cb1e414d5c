"""A plugin file of data sets and simulators, each of which breaks the check that it is named after."""

import dataclasses
from typing import Any

import numpy as np

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec, SimulatorSpec
from zoo.testing.toys import Sky, noise_images

FIELDS: dict[str, dict[str, Any]] = {
    "declarations": {"slices": {"colour": "colour"}},
    "budgets": {"budgets": {"laptop": {"count": -1}}},
    "labels": {"classes": ("a", "b", "c", "d")},
    "parameter_check": {"check": "brokendata:refuse_all"},
}
IMAGES = (
    "signature", "declarations", "builds", "budgets", "parameter_check", "repeatable", "other_process", "labels",
    "global_state", "splits", "pixels",
    "constant_images", "duplicates", "split_overlap", "pixel_leak", "scalar_leak", "split_overlap__negative",
    "pixels__late",
)  # fmt: skip
POPULATIONS = (
    "scenes", "scene_independence", "streams", "far_scenes", "exposure_leak", "streams__moved", "far_scenes__largest",
)  # fmt: skip
SIMULATORS = (
    "signature", "renders", "finite", "noiseless", "batch_independence", "scenes_kept", "linear", "place", "psf",
    "masses", "global_state",
)  # fmt: skip


@hookimpl
def zoo_datasets():
    images = [
        DatasetSpec(
            **{
                "id": f"brokendata/{name}",
                "target": f"brokendata:{name}",
                "classes": ("a", "b", "c"),
                "params": {"count": 300},
                **FIELDS.get(name, {}),
            }
        )
        for name in IMAGES
    ]
    populations = [
        DatasetSpec(
            id=f"brokendata/{name}",
            target=f"brokendata:{name.title().replace('_', '')}",
            classes=("a", "b", "c"),
            simulated=True,
            params={"image_size": 16, "pixel_scale": 0.2, "classes": 3},
        )
        for name in POPULATIONS
    ]
    return images + populations


@hookimpl
def zoo_simulators():
    return [
        SimulatorSpec(
            id=f"brokendata/{name}",
            target=f"brokendata:render_{name}",
            masses=("multipoles",) if name == "masses" else (),
        )
        for name in SIMULATORS
    ]


def good(count):
    return noise_images(count=count, image_size=16, planes=1, classes=3)


def signature(*, number):
    return good(number)


declarations = labels = parameter_check = lambda *, count: good(count)


def refuse_all(*, count):
    raise ValueError(f"count={count}")


def builds(*, count):
    return [good(count)]


def budgets(*, count):
    if count < 0:
        raise ValueError("fewer than no images")
    return good(count)


def changed(change):
    def build(*, count):
        images = good(count)
        pixels = images.images.copy()
        found = change(pixels, images.labels)
        return dataclasses.replace(images, images=pixels if found is None else found)

    return build


def repeatable(*, count):
    images = good(count)
    noise = np.random.default_rng().normal(size=images.images.shape)
    return dataclasses.replace(images, images=(images.images + noise).astype(np.float32))


def other_process(*, count):
    images = good(count)
    order = np.argsort([hash(one) for one in images.ids])
    return dataclasses.replace(
        images, images=images.images[order], labels=images.labels[order], ids=[images.ids[i] for i in order]
    )


def global_state(*, count):
    np.seterr(all="raise")
    return good(count)


def splits(*, count):
    images = good(count)
    return dataclasses.replace(images, labels=np.where(np.arange(count) == 0, 2, images.labels % 2))


def _not_a_number(pixels, labels):
    pixels[7, 0, 3, 3] = np.nan


def _constant(pixels, labels):
    pixels[::3] = 1.0


def _copies(pixels, labels):
    pixels[1::2] = pixels[::2]


def _turned(pixels, labels):
    for i in range(len(pixels)):
        pixels[i] = 2 * np.rot90(pixels[4 * (i // 4)], i % 4, axes=(1, 2)) if i % 4 else pixels[i]


def _negative(pixels, labels):
    pixels[1::2] = 10 - pixels[:-1:2]


def _marked(pixels, labels):
    pixels[:, 0, 0, 0] = labels


def _brighter(pixels, labels):
    pixels *= (1 + labels)[:, None, None, None].astype(np.float32)


pixels = changed(_not_a_number)


def pixels__late(*, count):
    images = good(3 * count)
    images.images[700, 0, 3, 3] = np.nan
    return images


constant_images = changed(_constant)
duplicates = changed(_copies)
split_overlap = changed(_turned)
split_overlap__negative = changed(_negative)
pixel_leak = changed(_marked)
scalar_leak = changed(_brighter)


class Scenes(Sky):
    def sample(self, indices, seed):
        scenes = super().sample(indices, seed)
        return dataclasses.replace(scenes, label=scenes.label[:-1])


class SceneIndependence(Sky):
    def sample(self, indices, seed):
        return dataclasses.replace(super().sample(indices, seed), label=np.arange(len(indices)) % 3)


class Streams(Sky):
    def sample(self, indices, seed):
        return super().sample(indices, "always the same")


class StreamsMoved(Sky):
    def sample(self, indices, seed):
        return super().sample(np.asarray(indices) + 1000 * ("another" in seed), "always the same")


class FarScenesLargest(Sky):
    def sample(self, indices, seed):
        if max(indices) >= 50_000:
            raise IndexError("no more scenes")
        return super().sample(indices, seed)


class FarScenes(Sky):
    def sample(self, indices, seed):
        return super().sample(np.asarray(indices) % 500, seed)


class ExposureLeak(Sky):
    def sample(self, indices, seed):
        scenes = super().sample(indices, seed)
        return dataclasses.replace(scenes, exposure=dataclasses.replace(scenes.exposure, snr=20.0 + scenes.label))


def _render(scenes, instrument):
    """Return a blob for each source."""
    import torch

    axis = torch.arange(instrument.image_size) - instrument.image_size / 2
    radius = torch.hypot(axis[:, None], axis[None, :])
    amounts = torch.tensor(scenes.source.intensity * (2 + scenes.source.x), dtype=torch.float32)
    return torch.exp(-(radius**2) / 20)[None] * amounts[:, None, None]


def rendering(change):
    def render(scenes, instrument, *, device, expected_images):
        from zoo.lensing.observe import Rendered

        return Rendered(source=change(_render(scenes, instrument), scenes))

    return render


def render_signature(scenes, instrument):
    return rendering(lambda images, scenes: images)(scenes, instrument, device="cpu", expected_images=1)


def _add_noise(images, scenes):
    import torch

    return images + torch.rand_like(images)


def _move_source(images, scenes):
    scenes.source.x[:] += 1
    return images


def _set_threads(images, scenes):
    import torch

    torch.set_float32_matmul_precision("high")
    return images


render_renders = rendering(lambda images, scenes: images[:, 1:])
render_finite = rendering(lambda images, scenes: images.log() * float("nan"))
render_noiseless = rendering(_add_noise)
render_batch_independence = rendering(lambda images, scenes: images / images.max())
render_scenes_kept = rendering(_move_source)
render_linear = rendering(lambda images, scenes: images / images.amax((1, 2), keepdim=True))
render_place = rendering(lambda images, scenes: images.flip(1))
render_psf = rendering(lambda images, scenes: images)
render_masses = rendering(lambda images, scenes: images)
render_global_state = rendering(_set_threads)

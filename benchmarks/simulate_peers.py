"""Simulators on JAX, each in a process of an environment of its own: sides of benchmarks/simulate.py.

    uv run --no-project --python 3.13 --with jaxtronomy --with 'autolens[jax]' \\
        python benchmarks/simulate_peers.py jaxtronomy SCENES.npz

A process reads numbers of images from its input, renders so many of the scenes in SCENES.npz in one compiled call, and
answers each with a line of JSON: wall seconds, processor seconds, and the file of the images. This file imports nothing
of zoo, which the other environment does not contain. JAXtronomy has no point mass; PyAutoLens' own jitted simulator of
substructure takes a few kinds of haloes only.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Scene = Mapping[str, Any]
Fixed = Mapping[str, np.ndarray]


def ellipticity(axis_ratio: Any, angle: Any) -> tuple[Any, Any]:
    """Return (1 - q) / (1 + q) times cosine and sine of twice the angle."""
    size = (1 - axis_ratio) / (1 + axis_ratio)
    return size * jnp.cos(2 * angle), size * jnp.sin(2 * angle)


def pooled(brightness: Any, fixed: Fixed) -> Any:
    """Return the pixels of one scene from the brightness at its rays: mean, PSF, cut back."""
    over = int(fixed["over"])
    size = len(fixed["axis"]) // over
    pixels = brightness.reshape(size, over, size, over).mean((1, 3))
    return jax.scipy.signal.fftconvolve(pixels, jnp.asarray(fixed["kernel"], jnp.float32), mode="valid")


def jaxtronomy(fixed: Fixed, masses: int) -> Callable[[Scene], Any]:
    """Return a function from a scene to its image: `LensModel.ray_shooting` and `LightModel.surface_brightness`."""
    from jaxtronomy.LensModel.lens_model import LensModel
    from jaxtronomy.LightModel.light_model import LightModel

    lens = LensModel(["SIE", "SHEAR", *["SIS"] * masses])
    light = LightModel(["SERSIC_ELLIPSE"])
    x, y = (rays.ravel() for rays in np.meshgrid(fixed["axis"], fixed["axis"]))

    def image(scene: Scene) -> Any:
        e1, e2 = ellipticity(scene["halo_q"], scene["halo_angle"])
        masses_of = [
            {"theta_E": scene["mass_e"][i], "center_x": scene["mass_x"][i], "center_y": scene["mass_y"][i]}
            for i in range(masses)
        ]
        halo = {"theta_E": scene["halo_e"], "e1": e1, "e2": e2, "center_x": 0.0, "center_y": 0.0}
        shear = {"gamma1": scene["gamma_1"], "gamma2": scene["gamma_2"], "ra_0": 0.0, "dec_0": 0.0}
        beta_x, beta_y = lens.ray_shooting(x, y, [halo, shear, *masses_of])
        e1, e2 = ellipticity(scene["source_q"], scene["source_angle"])
        source = {
            "amp": 1.0, "R_sersic": scene["source_r"], "n_sersic": 1.5, "e1": e1, "e2": e2,
            "center_x": scene["source_x"], "center_y": scene["source_y"],
        }  # fmt: skip
        return pooled(light.surface_brightness(beta_x, beta_y, [source]), fixed)

    return image


def _profiles(scene: Scene) -> tuple[list[Any], Any]:
    """Return PyAutoLens' halo and shear, and its source."""
    import autolens as al

    def components(q: Any, angle: Any) -> tuple[Any, Any]:
        cos, sin = ellipticity(q, angle)
        return sin, cos

    q = scene["halo_q"]
    halo = al.mp.Isothermal(
        centre=(0.0, 0.0), ell_comps=components(q, scene["halo_angle"]),
        einstein_radius=scene["halo_e"] * (1 + q) / (2 * jnp.sqrt(q)),
    )  # fmt: skip
    shear = al.mp.ExternalShear(gamma_1=scene["gamma_1"], gamma_2=scene["gamma_2"])
    source = al.lp.Sersic(
        centre=(scene["source_y"], scene["source_x"]), ell_comps=components(scene["source_q"], scene["source_angle"]),
        intensity=1.0, effective_radius=scene["source_r"], sersic_index=1.5,
    )  # fmt: skip
    return [halo, shear], source


def _grid(values: Any) -> Any:
    import autolens as al

    return al.Grid2DIrregular(values=values, xp=jnp)


def _plain(array: Any) -> Any:
    return getattr(array, "array", array)


def autolens(fixed: Fixed, masses: int) -> Callable[[Scene], Any]:
    """Return a function from a scene to its image: deflections and light of PyAutoLens' profiles."""
    import autolens as al

    x, y = np.meshgrid(fixed["axis"], fixed["axis"])
    rays = jnp.asarray(np.stack([y.ravel(), x.ravel()], axis=-1), jnp.float32)

    def image(scene: Scene) -> Any:
        profiles, source = _profiles(scene)
        profiles += [
            al.mp.PointMass(centre=(scene["mass_y"][i], scene["mass_x"][i]), einstein_radius=scene["mass_e"][i])
            for i in range(masses)
        ]
        beta = rays
        for profile in profiles:
            beta = beta - _plain(profile.deflections_yx_2d_from(grid=_grid(rays), xp=jnp))
        return pooled(_plain(source.image_2d_from(grid=_grid(beta), xp=jnp)), fixed)

    return image


def substructure(fixed: Fixed, masses: int) -> Callable[[Scene], Any]:
    """Return a function from a scene to its image: `simulate_substructure`, whose pixels are our rays."""
    import autolens as al
    from autolens.lens.substructure_util import precompute_scaling_matrix, simulate_substructure

    size = len(fixed["axis"])
    x, y = np.meshgrid(fixed["axis"], fixed["axis"])
    rays = jnp.asarray(np.stack([y.ravel(), x.ravel()], axis=-1), jnp.float32)
    scaling = precompute_scaling_matrix([0.5, 1.0])
    no_psf = jnp.ones((1, 1))

    def deflect(grid: Any, scene: Scene) -> Any:
        profiles, _ = _profiles(scene)
        return sum(_plain(profile.deflections_yx_2d_from(grid=_grid(grid), xp=jnp)) for profile in profiles)

    def shine(grid: Any, scene: Scene) -> Any:
        return _plain(_profiles(scene)[1].image_2d_from(grid=_grid(grid), xp=jnp))

    def image(scene: Scene) -> Any:
        one = jnp.ones(masses)
        haloes = jnp.stack([scene["mass_y"], scene["mass_x"], 0.1 * scene["mass_e"], 0.1 * one, one], axis=-1)
        brightness = simulate_substructure(
            grid=rays, image_shape=(size, size), halo_params=jnp.stack([haloes, haloes]),
            halo_mask=jnp.asarray([[1.0], [0.0]]) * one, scaling_matrix=scaling, lens_mass_fn=deflect,
            lens_mass_params=scene, lens_plane_mask=jnp.asarray([1.0, 0.0]), sheet_kappas=jnp.zeros(2),
            source_light_fn=shine, source_light_params=scene, psf_kernel=no_psf, exposure_time=300.0,
            background_sky_level=0.0, prng_key=None, halo_profile_cls=al.mp.NFWTruncatedSph,
        )  # fmt: skip
        return pooled(brightness, fixed)

    return image


def main() -> None:
    """Compile a side, then serve requests."""
    side, path = sys.argv[1:3]
    warnings.simplefilter("ignore")
    # What the libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    arrays = dict(np.load(path))
    fixed = {name: arrays.pop(name) for name in ("axis", "over", "kernel")}
    make = {"jaxtronomy": jaxtronomy, "autolens": autolens, "substructure": substructure}[side]
    image = make(fixed, arrays["mass_x"].shape[1])
    scenes = {name: jnp.asarray(values, jnp.float32) for name, values in arrays.items()}
    render = jax.jit(lambda some: jax.lax.map(image, some))
    out = Path(path).with_name(f"{side}.npy")
    for line in sys.stdin:
        some = {name: values[: int(line)] for name, values in scenes.items()}
        start, processor = time.perf_counter(), time.process_time()
        images = render(some).block_until_ready()
        answer = {"wall": time.perf_counter() - start, "processor": time.process_time() - processor, "images": str(out)}
        np.save(out, np.asarray(images))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""Draws scenes from a table of priors: halo, shear, source, and no substructure, sub-haloes or a vortex."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.lensing.cosmology import einstein_radius
from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.priors import Prior, parse_prior
from zoo.lensing.scenes import (
    SCALINGS,
    Array,
    Exposure,
    Isothermal,
    Multipoles,
    PointMasses,
    Scenes,
    Sersic,
    Shear,
    TruncatedHaloes,
)
from zoo_deeplense.centre import moved
from zoo_deeplense.legacy import einstein_radius_from_luminosity_distances
from zoo_deeplense.masses import fraction_inside, halo_fraction_inside, power_law, sum_of, truncated_haloes
from zoo_deeplense.photometry import counts_per_second, sersic_flux
from zoo_deeplense.values import LIMITS, OPTIONAL, PLAIN, PROFILES, SWITCHES, conserved, one_of

NO_SUBSTRUCTURE, SUBHALO, VORTEX = 0, 1, 2

_MOST_POINTS = 10_000
# Length in arcsec of a vortex in a halo at redshift 0.5, times the axion's mass in eV: DeepLenseSim takes the
# de Broglie wavelength 0.06 / (2 m / 1e-22 eV) for half of it.
_VORTEX_LENGTH_TIMES_MASS = 0.06e-22


def build(**params: Any) -> LensPopulation:
    """Return the population that a table describes (see `zoo_deeplense.tables`).

    Raises:
        UsageError: A value is not a prior, or physically impossible.
    """
    return LensPopulation(params)


class LensPopulation:
    """Three classes of lenses that differ in their substructure only.

    Args:
        params: Whole table: every key of `zoo_deeplense.tables.MODEL_A`.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.instrument = Instrument(
            image_size=params["image_size"],
            pixel_scale=params["pixel_scale"],
            over_sampling=params["over_sampling"],
            psf=params["psf"],
            psf_width=params["psf_width"],
            reference_pixel_scale=params["reference_pixel_scale"],
        )
        self.switches: dict[str, bool] = {}
        for name in SWITCHES:
            value = params.get(name, False)  # legacy: only where a set with that bug was published
            if not isinstance(value, bool):
                raise UsageError(f"{name}={value!r} must be true or false.")
            self.switches[name] = value
        self.conserve_mass = conserved(params["conserve_mass"])
        self.scaling = one_of("scaling", params["scaling"], SCALINGS)
        self.subhalo_profile = one_of("subhalo_profile", params["subhalo_profile"], PROFILES)
        self.multipoles = params["multipoles"] != 0
        self.vortex_points = params["vortex_points"]
        if type(self.vortex_points) is not int or not 1 <= self.vortex_points <= _MOST_POINTS:
            raise UsageError(f"vortex_points={self.vortex_points!r} must be a whole number from 1 to {_MOST_POINTS}.")
        self.priors: dict[str, Prior | None] = {
            name: None if value is None and name in OPTIONAL else parse_prior(value, name=name)
            for name, value in params.items()
            if name not in SWITCHES and name not in PLAIN
        }
        if params["zero_point"] is None:
            for name in ("source_magnitude", "sky_magnitude"):
                if params[name] is not None:
                    raise UsageError(f"{name} is set and zero_point is not: no magnitude can be turned into counts.")
        # Without snr and peak the light is not scaled afterwards: intensities are counts per second and arcsec^2.
        unscaled = params["snr"] is None and params["peak"] is None
        # `observe` takes brightness times scale for counts of a reference pixel.
        reference = self.instrument.pixel_scale**2 / self.instrument.area_in_reference_pixels
        self._reference_area = reference if unscaled else 1.0

    def sample(self, indices: NDArray[np.int64], seed: str) -> Scenes:
        """Return the scenes of these images; labels come in shuffled triples, so classes are balanced.

        Args:
            indices: [n] image indices.
            seed: Seed that names the stream.

        Raises:
            UsageError: A drawn value is physically impossible.
        """
        draws = Draws(seed, indices)
        lens_redshift, source_redshift = self._draw("lens_redshift", draws), self._draw("source_redshift", draws)
        if np.any(source_redshift <= lens_redshift):
            raise UsageError("source_redshift must lie above lens_redshift for every image.")
        total_mass, total = self._halo(draws, lens_redshift, source_redshift)
        label = _balanced_labels(seed, draws.indices)
        points, haloes, fraction = self._substructure(label, total_mass, total, lens_redshift, draws)
        axis_ratio, angle = self._draw("halo_axis_ratio", draws), self._draw("halo_angle", draws)
        inside = fraction_inside(points, total, axis_ratio=axis_ratio, angle=angle)
        count = (points.einstein_radius > 0).sum(1)
        if haloes is not None:
            inside = inside + halo_fraction_inside(haloes, total, axis_ratio=axis_ratio, angle=angle)
            count = count + (haloes.einstein_radius > 0).sum(1)
        zeros = np.zeros(len(label))
        source_radius, source_polar = self._draw("source_radius", draws), self._draw("source_polar_angle", draws)
        shear, shear_angle = self._draw("shear", draws), self._draw("shear_angle", draws)
        parameters = {
            "lens_redshift": lens_redshift,
            "source_redshift": source_redshift,
            "total_einstein_radius": total,
            "substructure_mass_fraction": fraction,
            "substructure_mass_fraction_inside": inside,
            "substructure_count": count.astype(np.float64),
            "vortex_length": np.where(label == VORTEX, self._vortex_length(draws), np.nan),
            "axion_mass": np.where(label == VORTEX, self._draw("axion_mass", draws), np.nan),
            "shear": shear,
            "shear_angle": shear_angle,
        }
        if self._varies("mass_scale"):
            parameters["mass_scale"] = self._draw("mass_scale", draws)
        if self._varies("beta"):
            parameters["subhalo_mass_slope"] = np.where(label == SUBHALO, self._draw("beta", draws), np.nan)
        scenes = Scenes(
            label=label,
            halo=Isothermal(
                einstein_radius=total * self._halo_share(fraction, inside),
                axis_ratio=axis_ratio,
                angle=angle,
                x=zeros,
                y=zeros,
            ),
            shear=Shear(gamma_1=shear * np.cos(2 * shear_angle), gamma_2=shear * np.sin(2 * shear_angle)),
            points=points,
            truncated_haloes=haloes,
            multipoles=self._multipoles(draws),
            source=self._sersic(
                "source",
                draws,
                x=self._draw("source_x", draws) + source_radius * np.cos(source_polar),
                y=self._draw("source_y", draws) + source_radius * np.sin(source_polar),
            ),
            lens_light=self._sersic("lens_light", draws, x=zeros, y=zeros) if self.switches["lens_light"] else None,
            exposure=Exposure(
                seconds=self._draw("exposure_seconds", draws),
                sky=self._sky(draws),
                snr=self._draw("snr", draws),
                peak=self._draw("peak", draws),
                scaling=self.scaling,
            ),
            parameters=parameters,
        )
        centre = self._draw_slots("halo_centre", draws, slots=2)
        return moved(scenes, *centre.T) if centre.any() else scenes

    def _draw(self, name: str, draws: Draws) -> Array:
        """Return [n] values of a parameter, NaN where it is unset."""
        return self._draw_slots(name, draws, slots=1)[:, 0]

    def _varies(self, name: str) -> bool:
        """Whether a parameter differs between images; one number for all of them stands in the recipe."""
        prior = self.priors[name]
        return prior is not None and prior.form != "Fixed"

    def _draw_slots(self, name: str, draws: Draws, *, slots: int) -> Array:
        """Return [n, slots] values of a parameter, NaN where it is unset."""
        prior = self.priors[name]
        if prior is None:
            return np.full((len(draws), slots), np.nan)
        values = prior.draw(draws, name, slots=slots)
        low, high = LIMITS.get(name, (-np.inf, np.inf))
        if values.size and (values.min() < low or values.max() > high):
            raise UsageError(
                f"{name}: the prior reaches {values.min():g} to {values.max():g}; "
                f"the possible range is {low:g} to {high:g}."
            )
        return values

    def _halo(self, draws: Draws, lens_redshift: Array, source_redshift: Array) -> tuple[Array, Array]:
        """Return the total mass and its Einstein radius, [n] each; either of them decides the other."""
        radius_of = einstein_radius_from_luminosity_distances if self.switches["legacy"] else einstein_radius
        radius, mass = self._draw("einstein_radius", draws), self._draw("total_mass", draws)
        by_mass = np.isnan(radius)
        radius_of_one = radius_of(1.0, lens_redshift, source_redshift)
        return (
            np.where(by_mass, mass, (radius / radius_of_one) ** 2),
            np.where(by_mass, radius_of(mass, lens_redshift, source_redshift), radius),
        )

    def _halo_share(self, fraction: Array, inside: Array) -> Array:
        """Return [n] the halo's Einstein radius in units of the whole lens'.

        An isothermal halo has the mean convergence theta_halo / r inside r, and substructure adds
        inside (theta_E / r)^2; at r = theta_E the sum is 1 if theta_halo = theta_E (1 - inside).
        """
        if self.conserve_mass == "ring":
            return 1 - inside
        # Masses inside each component's own Einstein radius add up, as in arXiv:2008.12731.
        return np.sqrt(1 - fraction) if self.conserve_mass == "components" else np.ones_like(fraction)

    def _multipoles(self, draws: Draws) -> Multipoles | None:
        """Return multipoles of orders 3 and 4, each with an amplitude and an angle of its own."""
        if not self.multipoles:
            return None
        amplitude = self._draw_slots("multipoles", draws, slots=2)
        turn = 2 * np.pi * draws.unit("multipole_angle", slots=2)
        return Multipoles(
            amplitude_3=amplitude[:, 0], angle_3=turn[:, 0] / 3, amplitude_4=amplitude[:, 1], angle_4=turn[:, 1] / 4
        )

    def _sersic(self, name: str, draws: Draws, *, x: Array, y: Array) -> Sersic:
        light = Sersic(
            x=x,
            y=y,
            axis_ratio=self._draw(f"{name}_axis_ratio", draws),
            angle=self._draw(f"{name}_angle", draws),
            index=self._draw(f"{name}_index", draws),
            effective_radius=self._draw(f"{name}_effective_radius", draws),
            intensity=self._draw(f"{name}_intensity", draws) * self._reference_area,
        )
        if self.priors.get(f"{name}_magnitude") is None:
            return light
        wanted = counts_per_second(self._draw(f"{name}_magnitude", draws), self._draw("zero_point", draws))
        return replace(light, intensity=light.intensity * (wanted * self._reference_area / sersic_flux(light)))

    def _sky(self, draws: Draws) -> Array:
        """Return [n] counts per second and pixel of the image; other noise counts as the sky of the same variance.

        A sky of B counts per second puts the variance B / t on a pixel's rate: that of a background of given rms
        is a sky of rms^2 t, that of the electrons' read noise one of noise^2 / t. All are stated for a reference
        pixel, and a larger pixel collects the sky and the variance on its area.
        """
        seconds, area = self._draw("exposure_seconds", draws), self.instrument.area_in_reference_pixels
        sky_light = counts_per_second(self._draw("sky_magnitude", draws), self._draw("zero_point", draws))
        parts = (
            sky_light * (self.instrument.pixel_scale**2 / area),
            self._draw("background_rms", draws) ** 2 * seconds,
            self._draw("read_noise", draws) ** 2 / seconds,
        )
        return (self._draw("sky", draws) + np.nan_to_num(np.stack(parts), nan=0.0).sum(0)) * area

    def _vortex_length(self, draws: Draws) -> Array:
        """Return [n] arcsec: drawn, or what the axion's mass makes of it."""
        by_mass = _VORTEX_LENGTH_TIMES_MASS / self._draw("axion_mass", draws)
        return np.where(np.isnan(by_mass), self._draw("vortex_length", draws), by_mass)

    def _substructure(
        self, label: NDArray[np.int64], total_mass: Array, total: Array, redshift: Array, draws: Draws
    ) -> tuple[PointMasses, TruncatedHaloes | None, Array]:
        """Return point masses and extended ones, and [n] the fraction of the total mass that they hold together."""
        scale = self._draw("mass_scale", draws)
        both = self._draw("mass_fraction", draws)
        vortex_x, vortex_y = self._vortex_positions(draws)
        vortex_fraction = np.where(np.isnan(both), self._draw("vortex_mass_fraction", draws), both) * scale
        vortex_mass = np.repeat(vortex_fraction[:, None] / self.vortex_points, self.vortex_points, axis=1)
        subhalo_x, subhalo_y, subhalo_mass = self._subhaloes(draws, total_mass)
        wanted = np.where(np.isnan(both), self._draw("subhalo_mass_fraction", draws), both)
        drawn = sum_of(subhalo_mass)
        rescale = np.where(np.isnan(wanted) | (drawn == 0), 1.0, wanted / np.where(drawn == 0, 1.0, drawn))
        subhalo_mass = subhalo_mass * (rescale * scale)[:, None]

        count = max(self.vortex_points, subhalo_mass.shape[1])
        x, y, mass = (np.zeros((len(label), count)) for _ in range(3))
        for which, parts in (
            (VORTEX, (vortex_x, vortex_y, vortex_mass)),
            (SUBHALO, (subhalo_x, subhalo_y, subhalo_mass)),
        ):
            chosen = label == which
            for whole, part in zip((x, y, mass), parts, strict=True):
                whole[chosen, : part.shape[1]] = part[chosen]
        fraction = sum_of(mass)
        if len(fraction) and fraction.max() >= 1:
            raise UsageError(
                f"The substructure of one image holds {fraction.max():.2f} of the total mass.",
                hint="Lower mass_scale, mass_fraction or subhalo_mass_high.",
            )
        # Equal shares: theta_i = theta_E sqrt(m_i / M), so that the N masses of a vortex add up to its mass.
        radius = total[:, None] * np.sqrt(mass)
        if self.subhalo_profile == "point":
            return PointMasses(x=x, y=y, einstein_radius=radius), None, fraction
        extended = (label == SUBHALO)[:, None]
        points = PointMasses(x=x, y=y, einstein_radius=np.where(extended, 0.0, radius))
        haloes = truncated_haloes(
            x,
            y,
            np.where(extended, mass * total_mass[:, None], 0.0),
            einstein_radius=radius,
            redshift=redshift,
            truncation=self._draw("subhalo_truncation", draws),
        )
        return points, haloes, fraction

    def _vortex_positions(self, draws: Draws) -> tuple[Array, Array]:
        """Return x and y [n, vortex_points] of equal masses in the middles of equal pieces of the string."""
        length, angle = self._vortex_length(draws), self._draw("vortex_angle", draws)
        along = ((np.arange(self.vortex_points) + 0.5) / self.vortex_points - 0.5) * length[:, None]
        x = self._draw("vortex_x", draws)[:, None] + along * np.cos(angle)[:, None]
        y = self._draw("vortex_y", draws)[:, None] + along * np.sin(angle)[:, None]
        return x, y

    def _subhaloes(self, draws: Draws, total_mass: Array) -> tuple[Array, Array, Array]:
        """Return x, y and mass [n, most sub-haloes of any image]; mass in units of the total, 0 beyond the count."""
        count = np.floor(self._draw("subhalo_count", draws))
        if np.any(count < 0) or np.any(count > _MOST_POINTS):
            raise UsageError(f"subhalo_count must lie between 0 and {_MOST_POINTS}.")
        slots = max(1, int(count.max(initial=0)))
        # Uniform in radius, not in area, as P2 has it: dense towards the centre.
        radius = self._draw_slots("subhalo_radius", draws, slots=slots)
        angle = draws.unit("subhalo_polar_angle", slots=slots) * 2 * np.pi
        mass = power_law(
            draws.unit("subhalo_mass", slots=slots),
            low=self._draw("subhalo_mass_low", draws)[:, None],
            high=self._draw("subhalo_mass_high", draws)[:, None],
            exponent=self._draw("beta", draws)[:, None],
        )
        present = np.arange(slots) < count[:, None]
        return (
            radius * np.cos(angle) * present,
            radius * np.sin(angle) * present,
            mass * present / total_mass[:, None],
        )


def _balanced_labels(seed: str, indices: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return [n] labels: each run of three images holds each class once, in an order of its own."""
    triple, place = indices // np.uint64(3), (indices % np.uint64(3)).astype(np.int64)
    keys = Draws(seed, triple).bits("label order", slots=3)
    return np.argsort(keys, axis=1)[np.arange(len(indices)), place].astype(np.int64)

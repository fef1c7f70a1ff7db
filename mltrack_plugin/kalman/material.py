"""Material of detector layers: scattering as process noise, and mean energy loss, of a pion."""

from __future__ import annotations

import math
from typing import NamedTuple

from mltrack_plugin.compiled import inlined
from mltrack_plugin.helix.helix import GEV_PER_TESLA_MM
from mltrack_plugin.kalman.state import Record

#: GeV^2.
PION_MASS2 = 0.13957039**2
#: GeV per radiation length of silicon at minimum ionisation: 1.66 MeV cm^2/g times 21.8 g/cm^2.
ENERGY_LOSS = 0.036
#: Largest standard deviation of a scattering angle, radian.
LARGEST_ANGLE = 0.1


class Material(NamedTuple):
    """What a detector layer does to a track."""

    #: Radiation lengths of a layer at normal incidence; 0 = nothing happens.
    thickness: float
    #: Transverse momentum times curvature, GeV/mm: the field in other units.
    pt_omega: float


def material_of(thickness: float, field_z: float) -> Material:
    """Material in a solenoid field along z.

    Args:
        thickness: radiation lengths of a layer at normal incidence.
        field_z: T.

    Raises:
        ValueError: if ``field_z`` is 0 or not finite.
    """
    if not math.isfinite(field_z) or field_z == 0:
        raise ValueError(f"following tracks needs a solenoid field, got {field_z} T")
    return Material(float(thickness), float(GEV_PER_TESLA_MM * abs(field_z)))


@inlined
def momentum_of(state: Record, material: Material) -> float:
    """Momentum of a particle of charge 1, GeV."""
    return float(math.sqrt(1.0 + state.cot * state.cot) * material.pt_omega / max(abs(state.omega), 1e-9))


@inlined
def crossed_thickness(state: Record, material: Material) -> float:
    """Radiation lengths along the track in a layer, which is a barrel or a disc, whichever is met more steeply."""
    slope = math.sqrt(1.0 + state.cot * state.cot)
    return float(material.thickness * min(slope, slope / max(abs(state.cot), 1e-9)))


@inlined
def scattering_variance(state: Record, crossed: float, material: Material) -> float:
    """Variance of the scattering angle in a plane (Highland) after ``crossed`` radiation lengths; rad^2."""
    if crossed <= 0.0:
        return 0.0
    momentum = momentum_of(state, material)
    beta = momentum / math.sqrt(momentum * momentum + PION_MASS2)
    angle = 0.0136 / (momentum * beta) * math.sqrt(crossed) * (1.0 + 0.038 * math.log(crossed))
    return float(min(max(angle, 0.0), LARGEST_ANGLE) ** 2)


@inlined
def cross_layer(state: Record, material: Material, backwards: bool) -> None:
    """Process noise and mean energy loss of one layer.

    Args:
        backwards: propagation is against the direction of the particle, which gains energy then.
    """
    if material.thickness <= 0.0:
        return
    crossed = crossed_thickness(state, material)
    angle2 = scattering_variance(state, crossed, material)
    slope2 = 1.0 + state.cot * state.cot
    state.phi_phi += angle2 * slope2
    state.cot_cot += angle2 * slope2 * slope2
    momentum = momentum_of(state, material)
    beta2 = momentum * momentum / (momentum * momentum + PION_MASS2)
    # dp = dE / beta.
    loss = min(ENERGY_LOSS * crossed / (beta2 * math.sqrt(beta2) * momentum), 0.2)
    state.omega *= 1.0 - loss if backwards else 1.0 + loss


@inlined
def inflate_between(state: Record, before: float, after: float, material: Material) -> None:
    """Inflate the covariance of an interpolated state by the scattering in the layer it is on.

    The hits on both sides, from which the state is interpolated, do not see that scattering.

    Args:
        before, after: path lengths to the neighbouring hits, mm.
    """
    lever = before * after / max(before + after, 1e-9)
    spread = scattering_variance(state, crossed_thickness(state, material), material) * lever * lever
    slope2 = 1.0 + state.cot * state.cot
    state.u_u += spread * slope2
    state.w_w += spread * slope2 * slope2

"""Single environments, with the physics of the D4RL data or of today's simulator.

The D4RL data were recorded with MuJoCo before 2.1.1, which treated a capsule as a
cylinder to derive mass and inertia. Since then the formula is exact, which makes the
robots up to 4 % heavier. In addition, MuJoCo 3.5 sums the contact margins of two geoms,
where older versions used the larger one. `physics="d4rl"` undoes both changes, in place
on the compiled model; one step from a recorded state then matches the data to float32.
"""

import gymnasium
import mujoco
import numpy as np

from samg_jax import checks
from samg_jax.envs import tasks

PHYSICS = ("d4rl", "stock")

# Plain numbers, because an array element does not equal the enum in all versions.
_SPHERE = int(mujoco.mjtGeom.mjGEOM_SPHERE)
_CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)

# The value of `settotalmass` in the model file, which rescales the robot. Compiled
# models do not contain it. Other models have no such line.
_TOTAL_MASS = {"HalfCheetah-v4": 14.0}


def make(env_id: str, physics: str = "d4rl", **kwargs: object) -> gymnasium.Env:
    """Build one environment in its own units: actions are not rescaled.

    Args:
        env_id: Any gymnasium id; see `tasks.for_env_id` for the old versions.
        physics: "d4rl" for the simulator of the D4RL data, which always means the `-v4`
            task (`-v5` gives Walker2d other feet and does not pay the last step of a
            fall); "stock" for gymnasium's own. AntMaze is D4RL's task with both; its
            ant is lighter with "d4rl".
        **kwargs: Arguments of `gymnasium.make`.
    """
    env_id = resolve(env_id, physics)
    env = tasks.make_gymnasium(env_id, **kwargs)
    if physics == "d4rl":
        restore_d4rl_physics(env.unwrapped.model, _TOTAL_MASS.get(env_id))
    return env


def resolve(env_id: str, physics: str) -> str:
    """The id that `make` builds; refuses ids that it cannot build."""
    if physics not in PHYSICS:
        raise checks.UserError(
            f"Unknown physics {physics!r}. Allowed: {', '.join(PHYSICS)}. Use 'd4rl' "
            "to compare with the D4RL data, 'stock' otherwise."
        )
    canonical = tasks.canonical_id(env_id)
    if physics == "stock" or tasks.is_antmaze(canonical):
        return canonical
    if not tasks.is_locomotion(env_id):
        raise checks.UserError(
            f"physics='d4rl' is not defined for {env_id!r}, only for HalfCheetah, "
            "Hopper, Walker2d (-v2 to -v5) and D4RL's AntMaze. Use physics='stock'."
        )
    return f"{env_id.split('-')[0]}-v4"


def default(env_id: str) -> str:
    """The default physics: "d4rl" if it is defined, else "stock"."""
    env_id = tasks.canonical_id(env_id)
    is_d4rl = tasks.is_locomotion(env_id) or tasks.is_antmaze(env_id)
    return "d4rl" if is_d4rl else "stock"


def restore_d4rl_physics(
    model: mujoco.MjModel, total_mass: float | None = None
) -> None:
    """Give `model`, in place, the masses, inertias and margins of MuJoCo 2.1.0.

    Bodies may consist of capsules and spheres of one density. The compiled model does
    not contain that density; it is inferred from the mass under today's formula.

    Args:
        model: A model as the compiler made it, not patched before.
        total_mass: The `settotalmass` of the model file, if it has one.
    """
    for body in range(1, model.nbody):
        geoms = np.flatnonzero(model.geom_bodyid == body)
        if geoms.size:
            _check_geoms(model, geoms)
            exact = sum(_exact_inertia(model, geom)[0] for geom in geoms)
            _set_inertia(model, body, geoms, model.body_mass[body] / exact)
    if total_mass is not None:
        factor = total_mass / model.body_mass.sum()
        model.body_mass *= factor
        model.body_inertia *= factor
    if tuple(int(part) for part in mujoco.__version__.split(".")[:2]) >= (3, 5):
        model.geom_margin *= 0.5  # All geoms of a model carry the same margin.
    mujoco.mj_setConst(model, mujoco.MjData(model))


def _check_geoms(model: mujoco.MjModel, geoms: np.ndarray) -> None:
    for geom in geoms:
        if model.geom_type[geom] not in (_SPHERE, _CAPSULE):
            kind = mujoco.mjtGeom(int(model.geom_type[geom])).name
            raise checks.UserError(
                f"Geom {model.geom(geom).name!r} is a {kind}; D4RL's physics is known "
                "for bodies of spheres and capsules only. Use the stock model."
            )
    if geoms.size > 1:
        return
    body = model.geom_bodyid[geoms[0]]
    mass, inertia = _exact_inertia(model, geoms[0])
    if not np.allclose(
        model.body_inertia[body] * mass, inertia * model.body_mass[body]
    ):
        raise checks.UserError(
            f"The inertia of body {model.body(body).name!r} is not what MuJoCo derives "
            "from its geom; only unpatched models with inertia from geoms are allowed. "
            "Compile the model again and patch it once."
        )


def _exact_inertia(model: mujoco.MjModel, geom: int) -> tuple[float, np.ndarray]:
    """Mass and principal inertia `[3]`, axis last, at density 1."""
    radius, half = model.geom_size[geom, :2]
    ball = 4.0 / 3.0 * np.pi * radius**3
    ball_inertia = 0.4 * ball * radius**2
    if model.geom_type[geom] == _SPHERE:
        return ball, np.full(3, ball_inertia)
    length = 2.0 * half
    rod = np.pi * radius**2 * length
    transverse = rod * (3.0 * radius**2 + length**2) / 12.0
    transverse += ball_inertia + ball * length * (3.0 * radius + 2.0 * length) / 8.0
    axial = 0.5 * rod * radius**2 + ball_inertia
    return rod + ball, np.array([transverse, transverse, axial])


def _d4rl_inertia(model: mujoco.MjModel, geom: int) -> tuple[float, np.ndarray]:
    """Mass and inertia by the old formula: a cylinder that is one radius longer."""
    if model.geom_type[geom] == _SPHERE:
        return _exact_inertia(model, geom)
    radius, half = model.geom_size[geom, :2]
    length = 2.0 * half + radius
    mass = np.pi * radius**2 * length
    transverse = mass * (3.0 * radius**2 + length**2) / 12.0
    return mass, np.array([transverse, transverse, 0.5 * mass * radius**2])


def _set_inertia(
    model: mujoco.MjModel, body: int, geoms: np.ndarray, density: float
) -> None:
    """Write mass, center, axes and inertia of `body`, as the compiler would."""
    masses, inertias = zip(*(_d4rl_inertia(model, geom) for geom in geoms), strict=True)
    masses, inertias = density * np.array(masses), density * np.array(inertias)
    model.body_mass[body] = masses.sum()
    if geoms.size == 1:
        model.body_ipos[body] = model.geom_pos[geoms[0]]
        model.body_iquat[body] = model.geom_quat[geoms[0]]
        model.body_inertia[body] = inertias[0]
        return
    center = masses @ model.geom_pos[geoms] / masses.sum()
    total = np.zeros((3, 3))
    for mass, inertia, geom in zip(masses, inertias, geoms, strict=True):
        axes = np.zeros(9)
        mujoco.mju_quat2Mat(axes, model.geom_quat[geom])
        axes = axes.reshape(3, 3)
        offset = model.geom_pos[geom] - center
        total += axes @ np.diag(inertia) @ axes.T
        # The parallel-axis theorem moves the inertia to the common center of mass.
        total += mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))
    moments, quat = np.zeros(3), np.zeros(4)
    mujoco.mju_eig3(moments, np.zeros(9), quat, total.ravel())
    model.body_ipos[body] = center
    model.body_iquat[body] = quat
    model.body_inertia[body] = moments

"""Package metadata: version ranges here, the tested versions in requirements.txt."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
# The version's one place. It is read, not imported, since JAX may not be there yet.
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (HERE / "samg_jax" / "__init__.py").read_text(),
    re.MULTILINE,
)[1]
# Older versions of setuptools know the licence's name only as free text.
SETUPTOOLS = int(setuptools.__version__.split(".")[0])
LICENSE = "license_expression" if SETUPTOOLS >= 77 else "license"

# MuJoCo: >= 3.2 because 3.1 normalizes the quaternion of a state that is set, which
# AntMaze's first observation shows (3.1 brought the state API that exact resume needs);
# < 4 because 4.0 changes RK4 for the ant, which nothing undoes. 3.5 sums the contact
# margins of two geoms where D4RL's simulator takes their maximum; `physics="d4rl"`
# undoes that. launch/mujoco_versions.sh tests the range.
MUJOCO = "mujoco>=3.2,<4"

INSTALL_REQUIRES = [
    "jax>=0.6,<0.13",
    "flax>=0.10,<0.13",
    "optax>=0.2.4,<0.3",
    "chex>=0.1.89,<0.2",
    "orbax-checkpoint>=0.11,<0.13",
    "gymnasium[mujoco]>=1.1,<1.5",
    MUJOCO,
    "ml-collections>=1.0,<2",
    "absl-py>=2.1,<3",
    "numpy>=1.26,<3",
    "scipy>=1.12,<2",
    # The table of results, of runs and of suites.
    "pandas>=2.2,<3",
    # For the analyses of samg_jax/paper, which belong to the package: small beside
    # JAX and MuJoCo, so not worth an extra that a user has to know of.
    "scikit-learn>=1.5,<2",
    "h5py>=3.10,<4",
    "matplotlib>=3.8,<4",
    "tensorboardX>=2.6,<3",
    "tqdm>=4.66,<5",
    "pooch>=1.8,<2",
    "filelock>=3.16,<5",
    "tabulate>=0.9,<1",
]

EXTRAS_REQUIRE = {
    # launch/install.sh picks one of the two by the NVIDIA driver.
    "cuda": ["jax[cuda12]>=0.6,<0.13"],
    "cuda13": ["jax[cuda13]>=0.7.2,<0.13"],
    # D4RL's own package is only a judge in the tests and a second table of scores;
    # it has no wheels' worth of dependencies for Python 3.12 and later.
    "d4rl": ['d4rl==1.1; python_version < "3.12"'],
    # Local Minari datasets, named minari:ID.
    "minari": ["minari>=0.5,<0.6"],
    # `samg_jax.evaluate --video`; the second brings ffmpeg.
    "video": ["imageio>=2.34,<3", "imageio-ffmpeg>=0.5,<1"],
    # `samg_jax.benchmark --baseline=torch`: what our updates are compared with.
    "torch": ["torch>=2.2,<3"],
    # `samg_jax.report`. rliable's own dependency arch fails with pandas 3.
    "report": [
        "rliable>=1.2,<1.3",
        "arch>=7,<8",
        "pyarrow>=17,<27",
        "jinja2>=3.1,<4",
    ],
    # The viewer of the TensorBoard files that every run writes.
    "live": ["tensorboard>=2.20,<3"],
    # `--config.logging.wandb=offline` or `online`.
    "wandb": ["wandb>=0.19,<0.32"],
    # `samg_jax.suite`: its table of results.
    "suite": ["pyarrow>=17,<27"],
    # Its executors beyond one machine.
    "ray": ["ray>=2.40,<3"],
    "slurm": ["submitit>=1.5,<2"],
    # `bash launch/docs.sh`; mkdocs 2 has another format of plugins and themes.
    "docs": [
        "mkdocs>=1.6,<2",
        "mkdocs-material>=9.6,<10",
        "mkdocstrings[python]>=0.29,<2",
    ],
    # Checks of the code beside ruff: types, spelling, and all of them at a commit.
    "lint": ["mypy>=2.4,<3", "codespell>=2.4,<3", "pre-commit>=4,<5"],
    "test": [
        "pytest>=8,<10",
        "pytest-xdist>=3.5,<4",
        "pytest-cov>=6,<8",
        "ruff>=0.9,<1",
        # For examples/quickstart.ipynb.
        "nbclient>=0.10,<0.12",
        "nbformat>=5.10,<6",
        "ipykernel>=6.29,<8",
        # The Dockerfile is read by what reads Dockerfiles.
        "dockerfile-parse>=2,<3",
    ],
}

PROGRAMS = ("train", "suite", "evaluate", "collect", "diagnose", "report", "benchmark")
COMMANDS = [f"samg-{name} = samg_jax.{name}:run" for name in PROGRAMS]

setuptools.setup(
    name="samg_jax",
    version=VERSION,
    description=(
        "Offline-to-online RL with offline model guidance (SAMG) and its baselines, "
        "many seeds at once in JAX"
    ),
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="The samg_jax developers",
    **{LICENSE: "Apache-2.0"},
    license_files=["LICENSE", "NOTICE"],
    # Add the repository's address here once it has one.
    project_urls={
        "Paper": "https://arxiv.org/abs/2410.18626",
        "Algorithms (CORL)": "https://github.com/tinkoff-ai/CORL",
        "Datasets (D4RL)": "https://arxiv.org/abs/2004.07219",
    },
    keywords="reinforcement learning, offline-to-online, JAX, D4RL",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # `samg_jax/configs` is a link to `configs`, so the config files are among these.
    packages=setuptools.find_packages(include=["samg_jax", "samg_jax.*"]),
    package_data={
        "samg_jax": ["py.typed"],
        "samg_jax.data": ["*.hdf5"],
        "samg_jax.results": ["*.jinja", "published_tables/*.txt"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": COMMANDS},
)

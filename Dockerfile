# The package with its pinned versions, on the CPU or, with a build argument, on CUDA:
#   docker build -t samg_jax .
#   docker build -t samg_jax --build-arg CUDA=cuda13 .    or CUDA=cuda, for CUDA 12
# Results stay in a folder of the host if it is mounted:
#   docker run --rm -v "$PWD/runs:/home/samg/runs" samg_jax samg_jax.train \
#     --config=awac_samg:hopper-demo
# On CUDA also `--gpus all`, which needs the NVIDIA container toolkit.
FROM python:3.13.5-slim-bookworm

# MuJoCo draws videos without a display with one of these.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends libegl1 libgl1-mesa-dri libosmesa6 \
  && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/samg_jax
COPY setup.py requirements.txt README.md LICENSE NOTICE ./
COPY configs configs
COPY samg_jax samg_jax

# Extras of setup.py. The wheels of JAX bring CUDA's libraries along.
ARG EXTRAS=live,report,suite,video
ARG CUDA=
# pip refuses extras in a file of constraints.
RUN sed 's/\[[^]]*\]//' requirements.txt >constraints.txt \
  && pip install --no-cache-dir --constraint constraints.txt \
    ".[${EXTRAS}${CUDA:+,$CUDA}]"

RUN useradd --create-home --uid 1000 samg
USER samg
WORKDIR /home/samg
RUN mkdir runs

# `docker run samg_jax` lists the programs; `docker run samg_jax samg_jax.train ...`
# starts one of them.
ENTRYPOINT ["python", "-m"]
CMD ["samg_jax"]

# unbraid serve in a container, as a user without rights. Downloaded models, the queue and results lie in /data.
#
#   docker build --target cuda -t unbraid .
#   docker run --gpus all -p 127.0.0.1:8765:8765 -v unbraid:/data unbraid
#
# For machines without a GPU the target is cpu, and TORCH_INDEX the address of PyTorch's own index of CPU wheels, which
# are a tenth as large (its versions end in +cpu, which pip takes for newer than those without):
#
#   docker build --target cpu --build-arg TORCH_INDEX=... -t unbraid .
#   docker run -p 127.0.0.1:8765:8765 -v unbraid:/data unbraid
#
# The token is printed when the server starts (docker logs); -e UNBRAID_TOKEN=... chooses one. Options of the server stand
# after the image's name: docker run ... unbraid --downloads lets visitors download models.

FROM python:3.12-slim AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_WAIT_POLICY=PASSIVE UNBRAID_CACHE=/data HF_HUB_CACHE=/data/hub
RUN useradd --uid 1000 --create-home unbraid && install -d -o unbraid /data
WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY examples examples
EXPOSE 8765
VOLUME /data
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/health')"]
ENTRYPOINT ["unbraid", "serve", "--host", "0.0.0.0", "--folder", "/data/serve"]

# torch first and by itself, or an open range of it would decide which build is taken.
FROM base AS cpu
ARG TORCH_INDEX
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt '.[serve,zoo]'
USER unbraid

FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt torch
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt '.[serve,zoo]'
USER unbraid

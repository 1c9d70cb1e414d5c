# syntax=docker/dockerfile:1
# zoo with torch for CPUs: docker build -t zoo . && docker run --rm -v "$PWD:/data" zoo bench --model p4m --data modelB
# Other plugins: --build-arg EXTRAS=all; torch for GPUs: --build-arg TORCH=cu128
FROM python:3.13-slim AS build
ARG EXTRAS=anomaly,baselines,caustics,deeplense,gconv
ARG TORCH=cpu
# hadolint ignore=DL3013
RUN pip install --no-cache-dir uv
WORKDIR /source
COPY . .
RUN uv build --all-packages --wheel --out-dir /wheels \
    && uv venv /opt/zoo \
    && uv pip install --no-cache --python /opt/zoo/bin/python --torch-backend "$TORCH" --find-links /wheels "lens-zoo[$EXTRAS]"

FROM python:3.13-slim
# A compiler for the C++ parts, which are compiled for the processor that they run on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/zoo /opt/zoo
# Names and a home folder for any --user, as a folder that is mounted may belong to any.
ENV PATH="/opt/zoo/bin:$PATH" HOME=/tmp USER=zoo ZOO_CACHE=/data/.zoo-cache
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["zoo"]
CMD ["--help"]

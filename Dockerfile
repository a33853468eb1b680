# Two images from one file: `--target cpu` (the default) and `--target gpu` (Linux x86-64, NVIDIA driver on the host).
#
# PYTHON_IMAGE may carry a digest (python:3.11-slim-bookworm@sha256:…); Python packages are pinned by constraints.txt.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ---- what is installed, without the installer -------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS builder
WORKDIR /build
RUN python -m venv --without-pip /opt/contraflow
COPY pyproject.toml constraints.txt deploy/image/dependencies.py deploy/image/trim.py ./

FROM builder AS cpu-dependencies
RUN python dependencies.py cpu export telemetry > requirements.txt \
    && pip --python /opt/contraflow/bin/python install --no-cache-dir --no-compile \
       --constraint constraints.txt --requirement requirements.txt \
    && python trim.py /opt/contraflow

FROM builder AS gpu-dependencies
RUN python dependencies.py gpu export telemetry > requirements.txt \
    && pip --python /opt/contraflow/bin/python install --no-cache-dir --no-compile \
       --constraint constraints.txt --requirement requirements.txt \
    && python trim.py /opt/contraflow

# Bytecode is compiled here because the root file system is read-only when the service runs.
FROM builder AS guide
COPY zensical.toml ./
COPY docs docs
RUN python -m venv /opt/generator \
    && /opt/generator/bin/pip install --no-cache-dir --constraint constraints.txt zensical \
    && /opt/generator/bin/zensical build --strict

FROM builder AS application
COPY contraflow /app/contraflow
COPY service /app/service
COPY export /app/export
COPY models/__init__.py models/__main__.py /app/models/
COPY models/training /app/models/training
COPY deploy/image/healthcheck.py /app/
COPY --from=guide /build/service/guide /app/service/guide
RUN python -m compileall -q --invalidation-mode unchecked-hash /app

# ---- what runs --------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS runtime
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="contraflow" \
      org.opencontainers.image.description="An image classifier served in both directions: predictions and per-layer gradient norms" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Two malloc arenas: threads that decode and run would otherwise each keep an arena of their own.
# ONNX Runtime's official wheels send usage events to their makers unless told not to; nothing leaves this container.
ENV PATH=/opt/contraflow/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    ORT_DISABLE_TELEMETRY=1 \
    CONTRAFLOW_HOST=0.0.0.0 \
    CONTRAFLOW_HTTP_PORT=8000 \
    CONTRAFLOW_BUNDLES=/bundles
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-S", "/app/healthcheck.py"]
# A verb and its arguments may follow: check, diagnose, import, … (`docker run contraflow:cpu --help`).
ENTRYPOINT ["python", "-m", "contraflow"]
CMD ["serve"]

FROM runtime AS gpu
COPY --from=gpu-dependencies /opt/contraflow /opt/contraflow
COPY --from=application /app /app
COPY models/bundles /bundles
# Whoever takes this image wants the GPU: without one it refuses to start rather than be silently slow.
ENV CONTRAFLOW_EXECUTION_PROVIDER=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=cpu-dependencies /opt/contraflow /opt/contraflow
COPY --from=application /app /app
COPY models/bundles /bundles
ENV CONTRAFLOW_EXECUTION_PROVIDER=cpu

"""Every setting of the service: name, default, limits and meaning.

The setting `max_body_bytes` is set by the variable `CONTRAFLOW_MAX_BODY_BYTES` or the flag `--max-body-bytes`; the
flag takes precedence. No setting may be named `port`: see `reading.KUBERNETES_SERVICE_LINK`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.images.limits import DECODING_BYTES, MAX_PIXELS, MAX_PIXELS_COPIED, MAX_SIDE
from service.settings.values import (
    Digests,
    ExecutionProvider,
    Hosts,
    ModelName,
    ModelNames,
    ModelVersion,
    OptionalBytes,
    OptionalPath,
    OptionalPort,
    Origins,
    PathPrefix,
    Paths,
    Proxies,
)

ReadyWhen = Literal["all", "default"]
ModelControl = Literal["poll", "explicit"]

DEFAULT_BUNDLES = (Path("models/bundles"),)


class Settings(BaseModel):
    """Settings of one server."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: Hosts = Field(
        default=("127.0.0.1",),
        description="addresses to listen on, comma-separated; 0.0.0.0 for all of IPv4, :: for all of IPv6 and IPv4",
    )
    http_port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    uds: OptionalPath = Field(
        default=None, description="Unix socket to listen on, in place of http_port; any local user may connect"
    )
    root_path: PathPrefix = Field(
        default="", description="path prefix that a proxy leaves on what it passes on, e.g. /vision"
    )
    trusted_proxies: Proxies = Field(
        default=(),
        description="proxies whose X-Forwarded-For, X-Forwarded-Proto and Forwarded are believed, comma-separated: "
        "addresses, networks, unix (whoever connects over a Unix socket), * (all)",
    )
    cors_origins: Origins = Field(
        default=(),
        description="other origins whose pages may call from a browser, comma-separated, e.g. https://app.example.com; "
        "* for all",
    )
    metrics_port: OptionalPort = Field(
        default=None,
        description="port of its own for /metrics and /health, without a key; /metrics is then nowhere else; "
        "0 takes a free one",
    )
    bundles: Paths = Field(
        default=DEFAULT_BUNDLES,
        min_length=1,
        description="what to serve: folders of bundles, bundles, .onnx files, folders of models; `:` between several, "
        "or as arguments without a flag",
    )
    cache: OptionalPath = Field(
        default=None,
        description="folder to keep imported models in; default: contraflow in the user's folder of caches",
    )
    default_model: ModelName = Field(
        default=None,
        description="model of requests that name none, as name or name@version, which must be served; "
        "default: the first by name",
    )
    ready_when: ReadyWhen = Field(
        default="all", description="what /health/ready waits for: the forward graphs of all bundles, or the default's"
    )
    model_control: ModelControl = Field(
        default="poll",
        description="poll: serve all bundles, and follow their changes; explicit: serve the models that load_models "
        "and POST /v2/repository/models/{name}/load name, as they are at that moment",
    )
    load_models: ModelNames = Field(
        default=(),
        description="models to load at the start where model_control is explicit, comma-separated; * for all",
    )
    execution_provider: ExecutionProvider = Field(
        default="auto",
        description="auto: the first GPU if CUDA works, else the CPU; cuda: the first GPU, or the service does not "
        "start; cuda:N: the same with GPU N, counted from 0; cpu: the CPU",
    )
    gpu_memory_limit: OptionalBytes = Field(
        default=None,
        description="bytes of the GPU's memory for weights and runs; CUDA graphs are off then; default: no limit",
    )

    run_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="runs at a time, each on one thread; a run that is alone may take as many threads, but no more "
        "than there are CPUs; default: the container's CPUs, and 2 on a GPU",
    )
    decode_threads: int | None = Field(
        default=None, ge=1, le=256, description="images decoded at a time; default: the container's CPUs"
    )
    max_batch: int = Field(default=32, ge=1, le=1024, description="most images in one run")
    warm_up: bool = Field(
        default=True, description="time each graph before it is ready, and find its best batch size afterwards"
    )
    diagnostics_at_start: bool = Field(
        default=False, description="load the graphs for diagnostics at the start, not on their first use"
    )

    max_queued_images: int = Field(
        default=1024, ge=1, description="images that may wait; beyond them requests are refused (503)"
    )
    deadline_ms: float = Field(
        default=30_000, gt=0, description="longest wait for an answer, for requests without X-Deadline-Ms"
    )
    sample_gradients: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the images sent to /predict whose gradients are measured too, on idle run slots, for "
        "/metrics",
    )
    shadow: ModelVersion = Field(
        default=None,
        description="second version, as name@version; a share of the predicted images goes through it too, on idle run "
        "slots; only requests that name the version get its answers",
    )
    shadow_share: float = Field(
        default=0.05, ge=0, le=1, description="share of the images that also go through the shadow"
    )
    shadow_gradients: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of those images whose gradients are measured through both versions; 0 spares the memory of "
        "the gradient graphs",
    )
    capture: OptionalPath = Field(
        default=None,
        description="folder to keep predictions with their answers in, as lines of JSON; default: none are kept",
    )
    capture_share: float = Field(
        default=1.0, ge=0, le=1, description="share of the predictions that is captured, chosen by the request's id"
    )
    capture_pictures: bool = Field(
        default=False,
        description="capture the bodies too, which a replay needs; otherwise their sizes and digests only",
    )
    capture_format: Literal["json", "cloudevents"] = Field(
        default="json", description="a plain record on each line, or a CloudEvent 1.0"
    )
    capture_max_bytes: int = Field(
        default=2**30,
        ge=2**20,
        description="bytes of all captured files together; the oldest are removed for the newest",
    )
    bundle_poll_seconds: float = Field(
        default=2.0, ge=0, description="seconds between two looks at the folder of bundles for changes; 0: never"
    )
    drain_delay: float = Field(
        default=5.0,
        ge=0,
        description="seconds of service after SIGTERM, until orchestrators no longer route here",
    )
    shutdown_grace: float = Field(default=20.0, ge=0, description="seconds after drain_delay for requests in flight")

    max_body_bytes: int = Field(default=16 * 2**20, ge=1024, description="largest request body")
    max_images: int = Field(default=64, ge=1, description="most images in one request")
    max_image_pixels: int = Field(
        default=MAX_PIXELS,
        ge=1,
        description="pixels of the largest image, by its header "
        f"(WEBP and AVIF: {MAX_PIXELS_COPIED // 10**6} million at most; a side: {MAX_SIDE:,})",
    )
    max_decoding_pixels: int = Field(
        default=50_000_000,
        ge=1,
        description="pixels being decoded at a time, over all requests; less if memory is limited",
    )
    max_body_bytes_in_flight: int = Field(
        default=256 * 2**20,
        ge=1024,
        description="bytes of large bodies held at a time, over all requests (503); less if memory is limited",
    )
    max_json_depth: int = Field(default=16, ge=2, description="deepest nesting of a JSON body")
    max_header_bytes: int = Field(default=32 * 2**10, ge=1024, description="largest request head")
    request_timeout: float = Field(
        default=30.0,
        gt=0,
        description="seconds in which a request must arrive whole (408), and a client must read some of its answer",
    )
    keep_alive: float = Field(default=75.0, gt=0, description="seconds an idle connection is kept")
    max_connections: int = Field(
        default=4096,
        ge=1,
        description="connections open at a time; beyond them the longest idle are closed; fewer if few "
        "files may be open",
    )

    api_keys: Digests = Field(
        default=(), description="sha256:<hex> digests of the keys that may call, comma-separated; none: open to all"
    )
    api_keys_file: OptionalPath = Field(
        default=None,
        description="file of more such keys, a line each, as `contraflow key` prints it; read again when it changes",
    )
    metrics_keys: Digests = Field(
        default=(),
        description="digests of keys that open /metrics alone, for Prometheus; those of api_keys open it too; without "
        "other keys all but /metrics stays open",
    )
    requests_per_second: float = Field(
        default=0.0, ge=0, description="average rate of each API key (429 beyond it); 0: no limit"
    )
    log_format: Literal["text", "json"] = Field(default="text", description="one line of text, or one JSON object")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is logged"
    )
    request_log: Literal["off", "debug", "info", "warning"] = Field(
        default="info",
        description="level of the line that every request gets; probes, scrapes and files of the page: debug; "
        "requests that fail: warning",
    )
    log_top_label: bool = Field(
        default=False, description="name the most probable label of each image in the line of its request"
    )

    @property
    def asks_for_keys(self) -> bool:
        """True if predictions, diagnostics and models are for those who have a key."""
        return bool(self.api_keys) or self.api_keys_file is not None


def within_memory(settings: Settings, limit: int | None) -> Settings:
    """Lower the settings to what a container of `limit` bytes can hold at a time; None is no limit.

    A container that exceeds its limit is killed with everything in flight, so what an overload can pile up is kept
    well below it: bodies get a fifth of the limit, and images being decoded a half. The rest is for the process
    itself, its weights and its runs.
    """
    if limit is None:
        return settings
    bodies = min(settings.max_body_bytes_in_flight, max(limit // 5, settings.max_body_bytes))
    pixels = min(settings.max_decoding_pixels, limit // 2 // DECODING_BYTES)
    return settings.model_copy(update={"max_body_bytes_in_flight": bodies, "max_decoding_pixels": max(1, pixels)})

"""The introduction of the OpenAPI document, in Markdown: what the service does, for someone who sees it first."""

from __future__ import annotations

from service.diagnostics.verdicts.explanations import GUIDE, SECTIONS
from service.diagnostics.verdicts.glossary import GLOSSARY
from service.http.documentation.guide import sections
from service.http.requests.bodies import in_words
from service.settings.fields import Settings

TAGS = {
    "predict": "Forwards: labels for pictures.",
    "diagnostics": "Backwards: gradients, and what they say about the network. Every answer can be had as a plot.",
    "models": "Which models are served, and what is known of them.",
    "health": "For orchestrators and monitoring.",
    "documentation": "The words of the answers, explained.",
    "open inference protocol": "The same models in the interface of KServe and Triton (`tritonclient` works).",
}
"""Groups of endpoints, in order → what they are for."""


def introduction(settings: Settings) -> str:
    """Return the introduction, with the limits of a service with these settings."""
    return f"{ABOUT}\n\n{_reading()}\n\n{ERRORS}\n\n{_keys(settings)}\n\n{_limits(settings)}\n"


ABOUT = """\
- **Forwards**, `POST /predict` says which labels fit a picture.
- **Backwards**, `POST /diagnostics/gradients` differentiates the same network: how strongly would each layer have to
  change for the loss to fall? It answers with the *gradient norms* of every layer, and a *verdict* in words.

[The page](./) does both in the browser, and [the guide](guide/) begins with your own model in five minutes. Below,
*Try it out* and *Execute* send a request that works as it stands. From a shell, `curl --data-binary @photo.jpg` and the
address of an endpoint are enough. The answers shown are those of the shipped `resnet20`, long lists and texts cut.\
"""


def _reading() -> str:
    healthy = SECTIONS["healthy"].rules["no finding"]
    rows = "\n".join(
        f"| [{section.title}]({GUIDE}#{anchor}) | {section.looked_at} |"
        for anchor, section, _ in sections()
        if anchor != "healthy"
    )
    return (
        "## Reading an answer\n\n"
        f"- **Gradient**: {GLOSSARY['gradient']}\n"
        f"- **Gradient norm**: {GLOSSARY['gradient norm']}\n"
        f"- **Healthy**: {healthy.meaning}\n\n"
        "Where a model is not healthy, `because` in the answer says what was seen, `meaning` what that means, and "
        f"`advice` what to try, the likeliest first. [One page]({GUIDE}) has it for every verdict, with the "
        f"thresholds and a [glossary]({GUIDE}#glossary):\n\n"
        f"| verdict | what is looked at |\n|---|---|\n{rows}"
    )


ERRORS = """\
## Errors

Every error is `application/problem+json` (RFC 9457): `title` says what kind it is, `detail` what is wrong with this
very request and what to do, and `type` is for programs. Under `/v1` and `/v2` it is `{"error": "…"}`, as
KServe's protocols have it. The response *Error* of any endpoint below lists all statuses.\
"""


def _keys(settings: Settings) -> str:
    if not settings.asks_for_keys:
        but = " but for /metrics" if settings.metrics_keys else ""
        return f"## Keys\n\nThis service is open: it asks for no key{but}."
    rate = settings.requests_per_second
    limit = f" Each key may send {rate:g} requests per second." if rate else ""
    return (
        "## Keys\n\nThis service asks for a key. Send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`; here, "
        f"enter it under *Authorize*.{limit} Health checks and this documentation need none, nor does the page, which "
        "has a field for it. No cookie is used, so no other site can call in your name."
    )


def _limits(settings: Settings) -> str:
    rows = {
        "bytes of a request's body": in_words(settings.max_body_bytes),
        "images in a request": f"{settings.max_images}",
        "pixels of an image": f"{settings.max_image_pixels:,}",
        "depth of a JSON body": f"{settings.max_json_depth}",
        "time for a request to arrive": f"{settings.request_timeout:g} s",
        "time for an answer": f"{settings.deadline_ms / 1000:g} s (less with the header `X-Deadline-Ms`)",
    }
    table = "\n".join(f"| {what} | {most} |" for what, most in rows.items())
    return f"## Limits\n\n| at most | here |\n|---|---|\n{table}"

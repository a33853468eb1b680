"""A caller's images, labels and options, from body and query.

Options in the body win over the query.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar
from urllib.parse import parse_qs

import numpy as np
from numpy.typing import NDArray

from service.bundles.registry import Registry
from service.bundles.served_model import ServedModel
from service.contract.arrays import Pixels
from service.contract.bundle_schema import InputSpec
from service.engine.decoding import DecodePool
from service.engine.request_context import RequestContext
from service.errors import InvalidParameter, MalformedRequest
from service.http.requests.forms import Form
from service.http.requests.labels import GivenLabels, Label, as_label, label_array, label_from_text

T = TypeVar("T")

INCLUDABLE = frozenset({"batch_gradient", "input_gradient", "activations"})
DEFAULT_TOP_K = 5


class Submission:
    """The images of a request, with their labels and all options."""

    def __init__(
        self, form: Form, query: Mapping[str, Sequence[str]], known: Collection[str], registry: Registry,
        decode_pool: DecodePool, request: RequestContext,
    ) -> None:  # fmt: skip
        """`known` has the names of the options that the endpoint takes.

        Raises:
            InvalidParameter, InvalidLabel: an option is unknown, or has a value that is not allowed.
            UnknownModel: no such model.
        """
        check_names([*form.fields, *query], known)
        self._fields = form.fields
        self._query = query
        self._decode_pool = decode_pool
        self.request = request
        self.images = form.images
        self.models = self._models(registry)
        request.model = ",".join([model.full_name for model in self.models])
        self._given = self._labels(form)
        self._spread(self.model)
        self.top_k = read_top_k(self.option("top_k"))
        self.include = read_include(self._field("include") or ",".join(query.get("include", ())))

    @property
    def model(self) -> ServedModel:
        return self.models[0]

    @property
    def given_labels(self) -> bool:
        return self._given.any_given

    def option(self, name: str, default: Any = None) -> Any:
        """Return the body's field, else the query's value (a string), else `default`; null and "" count as missing.

        Raises:
            InvalidParameter: the query has several values.
        """
        value = self._field(name)
        if value is None:
            value = single(self._query, name)
        return default if value is None else value

    def labels_for(self, model: ServedModel) -> NDArray[np.int64]:
        """Return each image's labels as the graphs of `model` take them, −1 where none is given.

        Raises:
            InvalidLabel: the model has no such label, or takes one label for an image and got several.
        """
        return label_array(self._spread(model), model.bundle)

    async def pixels(self, model: ServedModel) -> Pixels:
        """Return uint8 [n, h, w, c]: the images decoded for `model`.

        Raises:
            ImageError: an image cannot be decoded.
        """
        return await self._decode_pool.pixels(self.images, model.bundle.input, self.request)

    async def decoded(self, way: Callable[[bytes, InputSpec, int], T], model: ServedModel) -> list[T]:
        """Return each image decoded in another way than `model` sees it.

        Raises:
            ImageError: an image cannot be decoded.
        """
        return await self._decode_pool.each(way, self.images, model.bundle.input, self.request)

    def _spread(self, model: ServedModel) -> tuple[Label, ...]:
        return self._given.spread(model.bundle.label_kind, model.bundle.name)

    def _field(self, name: str) -> Any:
        value = self._fields.get(name)
        return None if value == "" else value

    def _labels(self, form: Form) -> GivenLabels:
        """Return what body and query say of labels; the body's fields win over the query."""
        if form.labels.given_as_fields:
            return form.labels
        in_body = {name: value for name in ("label", "labels") if (value := self._field(name)) is not None}
        if in_body:
            all_, each = (_entries(in_body.get(name)) for name in ("label", "labels"))
        else:
            all_, each = (
                tuple([label_from_text(text) for text in self._query.get(name, ())]) for name in ("label", "labels")
            )
        return GivenLabels(form.labels.of_images, all_, each)

    def _models(self, registry: Registry) -> tuple[ServedModel, ...]:
        named = self._field("model")
        if named is None:
            named = self._query.get("model", [])
        names = [name for name in (named if isinstance(named, list) else [named]) if name not in (None, "")]
        version = self.option("version")
        version = str(version) if isinstance(version, int) and not isinstance(version, bool) else version
        if not all(isinstance(name, str) for name in names) or not isinstance(version, str | None):
            raise InvalidParameter("`model` and `version` must be strings.")
        return tuple(registry.select(name, version) for name in names or [None])


def _entries(value: Any) -> tuple[Label, ...]:
    """Return the labels that a field of the body has: one, or a list; an empty list says that none applies."""
    if value is None:
        return ()
    return tuple([as_label(one) for one in (value if isinstance(value, list) else [value])]) or ((),)


def read_query(query_string: bytes) -> dict[str, list[str]]:
    """Return the query's values by name; text is UTF-8 or else Latin-1, percent-encoded or not.

    Raises:
        MalformedRequest: too many parameters.
    """
    if not query_string:
        return {}
    try:  # Latin-1 has a character for every byte
        query = parse_qs(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=200, encoding="latin-1")
    except ValueError:
        raise MalformedRequest("The query has too many parameters.") from None
    return {_text(name): [_text(value) for value in values] for name, values in query.items()}


def _text(bytes_as_latin_1: str) -> str:
    if bytes_as_latin_1.isascii():
        return bytes_as_latin_1
    try:
        return bytes_as_latin_1.encode("latin-1").decode()
    except UnicodeDecodeError:
        return bytes_as_latin_1


def single(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    """Return the value of a parameter; None if there is none, or an empty one, as forms send it.

    Raises:
        InvalidParameter: several values.
    """
    values = [value for value in query.get(name, ()) if value]
    if len(values) > 1:
        raise InvalidParameter(f"`{name}` is given more than once.")
    return values[0] if values else None


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse options that the endpoint does not know: a misspelt one would otherwise be ignored silently.

    Raises:
        InvalidParameter: an unknown one.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name[:64], known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(known))}."
            raise InvalidParameter(f"There is no parameter {name[:64]!r}; {hint}")


def read_top_k(value: Any) -> int:
    """Return how many labels to rank.

    Raises:
        InvalidParameter: not a positive integer.
    """
    if value is None:
        return DEFAULT_TOP_K
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidParameter(f"`top_k` must be a positive integer, not {str(value)[:40]!r}.")
    return value


def read_include(value: Any) -> frozenset[str]:
    """Return the further quantities that were asked for.

    Raises:
        InvalidParameter: an unknown one.
    """
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidParameter("`include` must be a comma-separated list.")
    wanted = frozenset(name.strip() for name in names if name.strip())
    unknown = sorted(wanted - INCLUDABLE)
    if unknown:
        raise InvalidParameter(f"`include` takes {', '.join(sorted(INCLUDABLE))}, not {unknown[0][:40]!r}.")
    return wanted

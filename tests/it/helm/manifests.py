"""Parses the manifests of each line, {"texts": {name: text}, "validate": false}, and prints their objects
as {"Ok": {name: [object]}}, or the problems as {"Err": "…"}.

With "validate", checks each object against the schemas of Kubernetes, in the oldest and
newest supported version, and of the Prometheus Operator. Unknown fields are errors.
"""

import importlib
import json
import sys

import yaml

VERSIONS = ["1.27", "1.37"]


def validate(obj):
    if obj["apiVersion"].startswith("monitoring.coreos.com/"):
        yield from validate_operator(obj)
        return
    import kubernetes_validate

    for version in VERSIONS:
        try:
            kubernetes_validate.validate(obj, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            yield f"Kubernetes {version}: {path}: {error.message}"


def validate_operator(obj):
    version = obj["apiVersion"].split("/")[1]
    models = importlib.import_module(f"cloudcoil.models.prometheus_operator.{version}")
    try:
        model = getattr(models, obj["kind"]).model_validate(obj)
    except ValueError as error:
        yield str(error)
        return
    # The models drop unknown fields.
    dumped = json.loads(model.model_dump_json(by_alias=True, exclude_unset=True))
    yield from lost(obj, dumped, obj["kind"])


def lost(before, after, path):
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before:
            if key in after:
                yield from lost(before[key], after[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: unknown"
    elif isinstance(before, list) and isinstance(after, list):
        for index, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{path}[{index}]")


class Strict(yaml.CSafeLoader):
    """Rejects duplicate keys."""


def mapping(loader, node, deep=False):
    merge = "tag:yaml.org,2002:merge"
    keys = [key for key, _ in node.value if key.tag != merge]
    keys = [loader.construct_object(key, deep=deep) for key in keys]
    duplicates = {key for key in keys if keys.count(key) > 1}
    if duplicates:
        raise ValueError(f"{node.start_mark}: duplicate: {duplicates}")
    return yaml.CSafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG,
    lambda loader, node: mapping(loader, node, deep=True),
)

# Most objects occur in several manifests.
problems = {}


def respond(request):
    try:
        objects = {
            name: [obj for obj in yaml.load_all(text, Strict) if obj is not None]
            for name, text in request["texts"].items()
        }
    except (ValueError, yaml.YAMLError) as error:
        return {"Err": str(error)}
    errors = []
    for name, manifest in objects.items() if request["validate"] else []:
        for obj in manifest:
            text = json.dumps(obj, sort_keys=True, default=str)
            if text not in problems:
                problems[text] = list(validate(obj))
            errors += [f"{name}: {obj['kind']}: {error}" for error in problems[text]]
    return {"Err": "\n".join(errors)} if errors else {"Ok": objects}


for line in sys.stdin:
    print(json.dumps(respond(json.loads(line)), default=str), flush=True)

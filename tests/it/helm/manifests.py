"""Reads manifests, as {name: text} in JSON, and prints their objects, as {name: [object]}.

With "judge" as its argument it holds every object to Kubernetes' own schemas, at the oldest and the
newest version that the chart is for, and to those of the Prometheus operator. Unknown fields count.
"""

import importlib
import json
import sys

import yaml

VERSIONS = ["1.27", "1.37"]


def judge(thing):
    if thing["apiVersion"].startswith("monitoring.coreos.com/"):
        yield from judge_operators(thing)
        return
    import kubernetes_validate

    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            yield f"Kubernetes {version}: {path}: {error.message}"


def judge_operators(thing):
    version = thing["apiVersion"].split("/")[1]
    models = importlib.import_module(f"cloudcoil.models.prometheus_operator.{version}")
    try:
        model = getattr(models, thing["kind"]).model_validate(thing)
    except ValueError as error:
        yield str(error)
        return
    # The models pass over fields that they do not know; what they kept tells which.
    kept = json.loads(model.model_dump_json(by_alias=True, exclude_unset=True))
    yield from lost(thing, kept, thing["kind"])


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


class Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, which YAML lets pass."""


def mapping(loader, node, deep=False):
    merge = "tag:yaml.org,2002:merge"
    keys = [key for key, _ in node.value if key.tag != merge]
    keys = [loader.construct_object(key, deep=deep) for key in keys]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"{node.start_mark}: twice: {twice}")
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG,
    lambda loader, node: mapping(loader, node, deep=True),
)

objects = {
    name: [thing for thing in yaml.load_all(text, Strict) if thing is not None]
    for name, text in json.load(sys.stdin).items()
}
if sys.argv[1:] == ["judge"]:
    # Many renderings share many objects.
    known = {}
    faults = []
    for name, things in objects.items():
        for thing in things:
            text = json.dumps(thing, sort_keys=True, default=str)
            if text not in known:
                known[text] = list(judge(thing))
            faults += [f"{name}: {thing['kind']}: {fault}" for fault in known[text]]
    if faults:
        sys.exit("\n".join(faults))
json.dump(objects, sys.stdout, default=str)

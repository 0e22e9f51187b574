"""Contacts each service with botocore, in the environment of each case.

A case is a line of JSON: {"environment": {…}, "profile": null, "service": "wickr", "region": "…"}. The
proxies in the environment note the hosts.
"""

import json
import os
import sys

import botocore.credentials
import botocore.loaders
import botocore.session
import botocore.tokens

loader = botocore.loaders.create_loader()


def contact(case):
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(case["environment"])
    # botocore reads HOME only once.
    cache = os.path.expanduser("~/.aws/sso/cache")
    botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR = cache
    botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR = cache
    session = botocore.session.Session(profile=case["profile"])
    session.register_component("data_loader", loader)
    if case["service"] == "sts":
        sts = session.create_client("sts", region_name=case["region"])
        sts.assume_role(RoleArn="arn:aws:iam::111122223333:role/r", RoleSessionName="test")
    else:
        wickr = session.create_client(
            "wickr", region_name=case["region"], endpoint_url=case["endpoint_url"]
        )
        wickr.list_networks()


for line in sys.stdin:
    try:
        contact(json.loads(line))
        print("succeeded")
    except Exception as error:
        print(type(error).__name__, str(error).replace("\n", " "))
    sys.stdout.flush()

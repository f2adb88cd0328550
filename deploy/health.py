"""Checks a service's health over HTTP and exits with 0 if it is healthy. The images have no curl.

`health.py answers URL` checks that the service answers; `health.py hdfs URL` checks that the
NameNode at this URL can write a block.
"""

import json
import sys
from urllib.request import ProxyHandler, build_opener


def check_health(kind: str, url: str) -> None:
    path = "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo" if kind == "hdfs" else ""
    with build_opener(ProxyHandler({})).open(url + path, timeout=5) as answer:
        content = answer.read()
    if kind == "hdfs":
        (node,) = json.loads(content)["beans"]
        if node["Safemode"]:
            sys.exit("the NameNode is in safe mode")
        # A DataNode is listed as soon as it registers, but takes blocks only after it has reported
        # its capacity.
        if not any(each["capacity"] > 0 for each in json.loads(node["LiveNodes"]).values()):
            sys.exit("no DataNode can take a block yet")


if __name__ == "__main__":
    try:
        check_health(*sys.argv[1:])
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{sys.argv[-1]}: {error}")

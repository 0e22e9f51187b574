"""Serves the gauges of a saved scrape with prometheus_client and a custom collector."""

import re
import sys
import time

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily

PAIR = re.compile(r'(\w+)="([^"]*)"')


class Gauges:
    """Creates its metrics at each scrape, as custom collectors do."""

    def __init__(self, path):
        self.since = time.time()
        self.families = []
        sets, texts, help_text = {}, {}, ""
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("# HELP "):
                    help_text = line.rstrip().split(" ", 3)[3]
                elif line.startswith("# TYPE "):
                    _, _, name, kind = line.split()
                    is_gauge = kind == "gauge" and name.startswith("wickr_")
                    if is_gauge:
                        self.families.append((name, help_text, [], []))
                elif is_gauge:
                    labels, value = line.rsplit(" ", 1)
                    labels = labels[len(name):]
                    if labels not in sets:
                        pairs = PAIR.findall(labels)
                        share = lambda text: texts.setdefault(text, text)
                        sets[labels] = [(share(key), share(text)) for key, text in pairs]
                    pairs = sets[labels]
                    family = self.families[-1]
                    if not family[2]:
                        family[2].extend(key for key, _ in pairs)
                    family[3].append((pairs, float(value)))

    def describe(self):
        return []

    def collect(self):
        elapsed = time.time() - self.since
        for name, help_text, labels, samples in self.families:
            family = GaugeMetricFamily(name, help_text, labels=labels)
            offset = elapsed if name.endswith("_idle_seconds") else 0
            for pairs, value in samples:
                family.add_metric([text for _, text in pairs], value + offset)
            yield family


registry = CollectorRegistry()
registry.register(Gauges(sys.argv[1]))
server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
print(f"listening on 127.0.0.1:{server.server_port}")
thread.join()

// Serves the gauges of a saved scrape with client_golang and a custom collector.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var pair = regexp.MustCompile(`(\w+)="([^"]*)"`)

type sample struct {
	labels []string
	value  float64
}

type family struct {
	name, help string
	desc       *prometheus.Desc
	samples    []sample
}

// Creates its metrics at each scrape, as custom collectors do.
type gauges struct {
	since    time.Time
	families []*family
}

func (*gauges) Describe(chan<- *prometheus.Desc) {}

func (g *gauges) Collect(metrics chan<- prometheus.Metric) {
	elapsed := time.Since(g.since).Seconds()
	for _, family := range g.families {
		offset := 0.0
		if strings.HasSuffix(family.name, "_idle_seconds") {
			offset = elapsed
		}
		for _, sample := range family.samples {
			value := sample.value + offset
			metrics <- prometheus.MustNewConstMetric(family.desc, prometheus.GaugeValue, value, sample.labels...)
		}
	}
}

func read(path string) ([]*family, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var families []*family
	texts, sets := map[string]string{}, map[string][]string{}
	share := func(text string) string {
		if _, known := texts[text]; !known {
			texts[text] = strings.Clone(text)
		}
		return texts[text]
	}
	help, isGauge := "", false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "# HELP "):
			help = strings.SplitN(line, " ", 4)[3]
		case strings.HasPrefix(line, "# TYPE "):
			words := strings.Fields(line)
			isGauge = words[3] == "gauge" && strings.HasPrefix(words[2], "wickr_")
			if isGauge {
				families = append(families, &family{name: words[2], help: help})
			}
		case isGauge:
			family := families[len(families)-1]
			space := strings.LastIndexByte(line, ' ')
			value, err := strconv.ParseFloat(line[space+1:], 64)
			if err != nil {
				return nil, err
			}
			labels := line[len(family.name):space]
			set, known := sets[labels]
			if !known || family.desc == nil {
				var names []string
				set = nil
				for _, match := range pair.FindAllStringSubmatch(labels, -1) {
					names = append(names, share(match[1]))
					set = append(set, share(match[2]))
				}
				sets[strings.Clone(labels)] = set
				if family.desc == nil {
					family.desc = prometheus.NewDesc(family.name, family.help, names, nil)
				}
			}
			family.samples = append(family.samples, sample{set, value})
		}
	}
	return families, lines.Err()
}

func main() {
	families, err := read(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&gauges{time.Now(), families})
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

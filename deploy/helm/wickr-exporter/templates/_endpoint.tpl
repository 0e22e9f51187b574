{{/* An endpoint of the monitor: the root, job, interval, timeout and URL parameters. */}}
{{- define "wickr-exporter.endpoint" -}}
{{- $root := index . 0 -}}
{{- $monitor := $root.Values.serviceMonitor -}}
{{- $scheme := include "wickr-exporter.scheme" $root -}}
- port: http
  scheme: {{ $scheme }}
  path: {{ include "wickr-exporter.routePrefix" $root }}/metrics
  interval: {{ index . 2 }}
  scrapeTimeout: {{ index . 3 }}
  {{- if $monitor.honorLabels }}
  honorLabels: true
  {{- end }}
  {{- with index . 4 }}
  params:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $tls := $monitor.tlsConfig }}
  {{- if and (eq $scheme "https") (not $tls.serverName) (not $tls.insecureSkipVerify) }}
  # Prometheus connects to IP addresses, which are not in the certificate.
  {{- $tls = merge (dict "serverName" (printf "%s.%s.svc" (include "wickr-exporter.serviceName" $root) $root.Release.Namespace)) $tls }}
  {{- end }}
  {{- with $tls }}
  tlsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $monitor.basicAuth }}
  basicAuth:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  relabelings:
    # The alerts require this job name, regardless of the name of the release.
    - targetLabel: job
      replacement: {{ index . 1 }}
    {{- with $monitor.relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Truncated, because a StatefulSet appends to it in labels. */}}
{{- define "wickr-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "wickr-exporter.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "wickr-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* The headless Service has a different name: clusterIP of a Service cannot change. */}}
{{- define "wickr-exporter.serviceName" -}}
{{- include "wickr-exporter.fullname" . -}}
{{- if gt (int .Values.shards) 1 -}}-shards{{- end -}}
{{- end -}}

{{- define "wickr-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wickr-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wickr-exporter.labels" -}}
{{ include "wickr-exporter.labelsAnd" (list . dict) }}
{{- end -}}

{{/* Additional labels override commonLabels. They are merged, because a key must not occur twice. */}}
{{- define "wickr-exporter.labelsAnd" -}}
{{- $root := index . 0 -}}
{{ include "wickr-exporter.selectorLabels" $root }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with merge dict (index . 1) $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "wickr-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "wickr-exporter.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "wickr-exporter.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Not empty if there is a web configuration. */}}
{{- define "wickr-exporter.webConfig" -}}
{{- if or .Values.web.configSecret .Values.web.tlsSecret -}}yes{{- end -}}
{{- end -}}

{{- define "wickr-exporter.scheme" -}}
{{- if or .Values.web.tls .Values.web.tlsSecret -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{/* The path of web.externalUrl. */}}
{{- define "wickr-exporter.externalPath" -}}
{{- regexReplaceAll "^https?://[^/]*" .Values.web.externalUrl "" | trimSuffix "/" -}}
{{- end -}}

{{/* The prefix of the exporter's routes, without a slash at its end. */}}
{{- define "wickr-exporter.routePrefix" -}}
{{- .Values.web.routePrefix | default (include "wickr-exporter.externalPath" .) | trimSuffix "/" -}}
{{- end -}}

{{/* Not empty if the configuration is not in the chart's own ConfigMap. */}}
{{- define "wickr-exporter.existingConfig" -}}
{{- .Values.existingConfigMap }}{{ .Values.existingSecret -}}
{{- end -}}

{{/* The given configuration, with the tables that the chart adds. */}}
{{- define "wickr-exporter.config" -}}
{{- $config := .Values.config -}}
{{- $has := "(?m)^[ \\t]*(\\[[ \\t]*)?[\"']?%s[\"']?[ \\t]*[]=.]" -}}
{{- if gt (int .Values.shards) 1 -}}
{{- if regexMatch (printf $has "shard") $config -}}
{{- fail "config: remove [shard]; the chart adds it if shards is above 1" -}}
{{- end -}}
{{- end -}}
{{- if .Values.state.enabled -}}
{{- if regexMatch (printf $has "state") $config -}}
{{- fail "config: remove [state], which the chart adds, or set state.enabled to false" -}}
{{- end -}}
{{- end -}}
{{ $config | trim }}
{{- if .Values.state.enabled }}

# Added by the chart: the path of the mounted volume.
[state]
path = "/var/lib/wickr-exporter/state"
{{- end }}
{{- if gt (int .Values.shards) 1 }}

# Added by the chart: each pod gets its ordinal and the number of shards.
[shard]
index = "auto"
total = "auto"
{{- end }}
{{- end -}}

{{/* Converts a duration such as 1m30s to milliseconds. */}}
{{- define "wickr-exporter.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | atoi) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Rejects combinations of values, which values.schema.json cannot express. */}}
{{- define "wickr-exporter.validate" -}}
{{- if and (gt (int .Values.shards) 1) .Values.state.existingClaim -}}
{{- fail "state.existingClaim: cannot be used with several shards, which need a volume each; set state.persistent instead" -}}
{{- end -}}
{{- if and .Values.state.existingClaim (not .Values.state.enabled) -}}
{{- fail "state.existingClaim: requires state.enabled" -}}
{{- end -}}
{{- if and .Values.state.persistent (not .Values.state.enabled) -}}
{{- fail "state.persistent: requires state.enabled" -}}
{{- end -}}
{{- if and .Values.web.tls (not .Values.web.configSecret) -}}
{{- fail "web.tls: requires web.configSecret with a web configuration that enables TLS; for a certificate in a Secret, set web.tlsSecret instead" -}}
{{- end -}}
{{- if contains "$(" (include "wickr-exporter.routePrefix" .) -}}
{{- fail "web.externalUrl: has a path that differs between pods, which probes and scrapes cannot have; set web.routePrefix, too" -}}
{{- end -}}
{{- if and .Values.serviceAccount.roleArn (not .Values.serviceAccount.create) -}}
{{- fail "serviceAccount.roleArn: requires serviceAccount.create; annotate the existing service account instead" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.from) -}}
{{- fail "networkPolicy.from: is empty, so no pod could scrape the exporter; set the allowed sources, or keep the default namespace monitoring" -}}
{{- end -}}
{{- range $path, $scrape := dict "serviceMonitor" .Values.serviceMonitor "serviceMonitor.devices" .Values.serviceMonitor.devices -}}
{{- $interval := include "wickr-exporter.milliseconds" $scrape.interval | int64 -}}
{{- if gt (include "wickr-exporter.milliseconds" $scrape.scrapeTimeout | int64) $interval -}}
{{- fail (printf "%s.scrapeTimeout: is above %s.interval, which Prometheus rejects" $path $path) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.serviceMonitor.devices.enabled (hasKey .Values.serviceMonitor.params "collect[]") -}}
{{- fail "serviceMonitor.devices.enabled: sets collect[] itself; remove it from serviceMonitor.params" -}}
{{- end -}}
{{- if and .Values.existingConfigMap .Values.existingSecret -}}
{{- fail "existingSecret: existingConfigMap is also set; set only one of them" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: is empty; set the name of the host" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (gt (int .Values.shards) 1) -}}
{{- fail "ingress.enabled: cannot be used with several shards, because each request would reach another shard" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and $.Values.aws.region (eq .name "AWS_REGION") -}}
{{- fail "aws.region: is also set in extraEnv as AWS_REGION; set only one of them" -}}
{{- end -}}
{{- end -}}
{{- end -}}

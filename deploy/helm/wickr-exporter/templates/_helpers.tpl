{{/* Short enough for what a StatefulSet adds to it in labels. */}}
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

{{/* A name of its own for the Service without an address: one cannot become the other. */}}
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

{{/* With further ones, which beat those for every object: a key must not stand there twice. */}}
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

{{/* Whether there is a web configuration; "" is no. */}}
{{- define "wickr-exporter.webConfig" -}}
{{- if or .Values.web.configSecret .Values.web.tlsSecret -}}yes{{- end -}}
{{- end -}}

{{- define "wickr-exporter.scheme" -}}
{{- if or .Values.web.tls .Values.web.tlsSecret -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{/* The configuration as it is given, and what only the chart knows. */}}
{{- define "wickr-exporter.config" -}}
{{- $config := .Values.config -}}
{{- $has := "(?m)^[ \\t]*(\\[[ \\t]*)?[\"']?%s[\"']?[ \\t]*[]=.]" -}}
{{- if gt (int .Values.shards) 1 -}}
{{- if regexMatch (printf $has "shard") $config -}}
{{- fail "config: leave [shard] to the chart where shards is above 1" -}}
{{- end -}}
{{- end -}}
{{- if .Values.state.enabled -}}
{{- if regexMatch (printf $has "state") $config -}}
{{- fail "config: leave [state] to the chart, or set state.enabled to false" -}}
{{- end -}}
{{- end -}}
{{ $config | trim }}
{{- if .Values.state.enabled }}

# From the chart: the volume is mounted there.
[state]
path = "/var/lib/wickr-exporter/state"
{{- end }}
{{- if gt (int .Values.shards) 1 }}

# From the chart: each pod knows its own ordinal and how many there are.
[shard]
index = "auto"
total = "auto"
{{- end }}
{{- end -}}

{{/* How many milliseconds a time such as 1m30s is. */}}
{{- define "wickr-exporter.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | atoi) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* What values.schema.json cannot say: values that do not go together. */}}
{{- define "wickr-exporter.validate" -}}
{{- if and (gt (int .Values.shards) 1) .Values.state.existingClaim -}}
{{- fail "state.existingClaim: each shard needs a volume of its own; set state.persistent instead" -}}
{{- end -}}
{{- if and .Values.state.existingClaim (not .Values.state.enabled) -}}
{{- fail "state.existingClaim: needs state.enabled" -}}
{{- end -}}
{{- if and .Values.state.persistent (not .Values.state.enabled) -}}
{{- fail "state.persistent: needs state.enabled" -}}
{{- end -}}
{{- if and .Values.web.tls (not .Values.web.configSecret) -}}
{{- fail "web.tls: says that the web configuration in web.configSecret turns TLS on, but there is none; for a certificate in a Secret of its own, set web.tlsSecret" -}}
{{- end -}}
{{- if and .Values.serviceAccount.roleArn (not .Values.serviceAccount.create) -}}
{{- fail "serviceAccount.roleArn: needs serviceAccount.create; annotate the service account that is there already" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.from) -}}
{{- fail "networkPolicy.from: there is none, so nobody could scrape it; say who may, or leave it at the namespace monitoring" -}}
{{- end -}}
{{- $interval := include "wickr-exporter.milliseconds" .Values.monitor.interval | int64 -}}
{{- if gt (include "wickr-exporter.milliseconds" .Values.monitor.scrapeTimeout | int64) $interval -}}
{{- fail "monitor.scrapeTimeout: is above monitor.interval, which Prometheus refuses" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and $.Values.aws.region (eq .name "AWS_REGION") -}}
{{- fail "aws.region: is in extraEnv, too, as AWS_REGION; set one of them" -}}
{{- end -}}
{{- end -}}
{{- end -}}

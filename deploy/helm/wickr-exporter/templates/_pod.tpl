{{/* The pod template of the Deployment and the StatefulSet. */}}
{{- define "wickr-exporter.pod" -}}
{{- $sharded := gt (int .Values.shards) 1 -}}
metadata:
  labels:
    {{- include "wickr-exporter.labelsAnd" (list . .Values.podLabels) | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: wickr-exporter
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "wickr-exporter.serviceAccountName" . }}
  # The exporter does not use the Kubernetes API. IRSA and Pod Identity mount their own tokens.
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: wickr-exporter
      image: {{ include "wickr-exporter.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - --config.file=/etc/wickr-exporter/config.toml
        - --config.enable-auto-reload
        - --web.listen-address=:10471
        {{- if include "wickr-exporter.webConfig" . }}
        - --web.config.file=/etc/wickr-exporter-web/{{ .Values.web.configSecret | empty | ternary "web-config.yml" .Values.web.configKey }}
        {{- end }}
        {{- with .Values.web.externalUrl }}
        - {{ printf "--web.external-url=%s" . | quote }}
        {{- end }}
        {{- with .Values.web.routePrefix }}
        - {{ printf "--web.route-prefix=%s" . | quote }}
        {{- end }}
        {{- if .Values.web.enableLifecycle }}
        - --web.enable-lifecycle
        {{- end }}
        - --log.level={{ .Values.log.level }}
        - --log.format={{ .Values.log.format }}
        {{- range .Values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      {{- if or $sharded .Values.aws.region .Values.extraEnv }}
      env:
        {{- with .Values.aws.region }}
        - name: AWS_REGION
          value: {{ . }}
        {{- end }}
        {{- if $sharded }}
        - name: HOSTNAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: WICKR_EXPORTER_SHARD_TOTAL
          value: {{ .Values.shards | int | quote }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 10471
          protocol: TCP
      livenessProbe:
        httpGet:
          path: {{ include "wickr-exporter.routePrefix" . }}/-/healthy
          port: http
          scheme: {{ include "wickr-exporter.scheme" . | upper }}
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet:
          path: {{ include "wickr-exporter.routePrefix" . }}/-/ready
          port: http
          scheme: {{ include "wickr-exporter.scheme" . | upper }}
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        # The directory, because a subPath mount is never updated.
        - name: config
          mountPath: /etc/wickr-exporter
          readOnly: true
        {{- if include "wickr-exporter.webConfig" . }}
        - name: web
          mountPath: /etc/wickr-exporter-web
          readOnly: true
        {{- end }}
        {{- if .Values.state.enabled }}
        - name: state
          mountPath: /var/lib/wickr-exporter
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      {{- if .Values.existingSecret }}
      secret:
        secretName: {{ .Values.existingSecret }}
        # Readable by the pod's group.
        defaultMode: 0440
      {{- else }}
      configMap:
        name: {{ .Values.existingConfigMap | default (include "wickr-exporter.fullname" .) }}
      {{- end }}
        items:
          - key: {{ include "wickr-exporter.existingConfig" . | empty | ternary "config.toml" .Values.configKey }}
            path: config.toml
    {{- if include "wickr-exporter.webConfig" . }}
    - name: web
      projected:
        # Readable by the pod's group.
        defaultMode: 0440
        sources:
          {{- with .Values.web.configSecret }}
          - secret:
              name: {{ . }}
          {{- else }}
          - configMap:
              name: {{ include "wickr-exporter.fullname" . }}
              items:
                - key: web-config.yml
                  path: web-config.yml
          {{- end }}
          {{- with .Values.web.tlsSecret }}
          - secret:
              name: {{ . }}
              items:
                - key: tls.crt
                  path: tls.crt
                - key: tls.key
                  path: tls.key
          {{- end }}
    {{- end }}
    {{- if and .Values.state.enabled (not (and $sharded .Values.state.persistent)) }}
    - name: state
      {{- if .Values.state.existingClaim }}
      persistentVolumeClaim:
        claimName: {{ .Values.state.existingClaim }}
      {{- else if .Values.state.persistent }}
      persistentVolumeClaim:
        claimName: {{ include "wickr-exporter.fullname" . }}
      {{- else }}
      # Survives a restart of the container, but not the deletion of the pod.
      emptyDir:
        sizeLimit: {{ .Values.state.size }}
      {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

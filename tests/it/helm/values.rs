//! Values that the chart rejects, by its schema or by a template.

use serde_json::json;

use super::render::Chart;

#[test]
fn chart_rejects_invalid_and_conflicting_values() {
    let Some(chart) = Chart::find() else { return };
    let id = "[[network]]\nid = 'all'\nusers = 'all'\n";
    for (values, reason) in [
        (json!({"shards": 0}), "at '/shards': minimum: got 0, want 1"),
        (json!({"shards": 1.5}), "at '/shards': got number, want integer"),
        (json!({"shard": 3}), "additional properties 'shard' not allowed"),
        (
            json!({"state": {"enable": true}}),
            "at '/state': additional properties 'enable' not allowed",
        ),
        (json!({"state": {"size": "1GB"}}), "at '/state/size': '1GB' does not match pattern"),
        (json!({"image": {"digest": "1234"}}), "at '/image/digest': '1234' does not match pattern"),
        (json!({"image": {"repository": ""}}), "at '/image/repository'"),
        (json!({"aws": {"region": "Ireland"}}), "at '/aws/region': 'Ireland' does not match"),
        (
            json!({"serviceAccount": {"roleArn": "wickr"}}),
            "at '/serviceAccount/roleArn': 'wickr' does",
        ),
        (
            json!({"serviceMonitor": {"kind": "Probe"}}),
            "must be one of 'ServiceMonitor', 'PodMonitor'",
        ),
        (json!({"serviceMonitor": {"interval": "a minute"}}), "at '/serviceMonitor/interval'"),
        (json!({"log": {"level": "verbose"}}), "at '/log/level': value must be one of"),
        (json!({"service": {"port": 70000}}), "at '/service/port': maximum: got 70,000"),
        (json!({"podLabels": {"a": 1}}), "at '/podLabels/a': got number, want string"),
        (
            json!({"podDisruptionBudget": {"maxUnavailable": 0}}),
            "at '/podDisruptionBudget/maxUnavailable'",
        ),
        (json!({"config": ""}), "at '/config'"),
        (json!({"config": {"network": []}}), "at '/config': got object, want string"),
        // Conflicts.
        (
            json!({"config": format!("{id}[shard]\nindex = 0\ntotal = 2"), "shards": 2}),
            "config: remove [shard]; the chart adds it if shards is above 1",
        ),
        (
            json!({"config": format!("shard.total = 2\n{id}"), "shards": 2}),
            "config: remove [shard]",
        ),
        (
            json!({"config": format!("{id}[ state ]\npath = 'x'")}),
            "config: remove [state], which the chart adds, or set state.enabled to false",
        ),
        (
            json!({"shards": 2, "state": {"existingClaim": "mine"}}),
            "state.existingClaim: cannot be used with several shards",
        ),
        (
            json!({"state": {"enabled": false, "persistent": true}}),
            "state.persistent: requires state.enabled",
        ),
        (
            json!({"state": {"enabled": false, "existingClaim": "a"}}),
            "state.existingClaim: requires state.enabled",
        ),
        (json!({"web": {"tls": true}}), "web.tls: requires web.configSecret"),
        (json!({"web": {"externalUrl": "example.com"}}), "at '/web/externalUrl'"),
        (json!({"web": {"routePrefix": "wickr"}}), "at '/web/routePrefix'"),
        (
            json!({"shards": 2, "web": {"externalUrl": "https://example.com/$(HOSTNAME)"}}),
            "web.externalUrl: has a path that differs between pods",
        ),
        (
            json!({"serviceAccount": {"create": false, "roleArn": "arn:aws:iam::111122223333:role/a"}}),
            "requires serviceAccount.create",
        ),
        (json!({"networkPolicy": {"enabled": true, "from": null}}), "networkPolicy.from: is empty"),
        (
            json!({"serviceMonitor": {"interval": "1m", "scrapeTimeout": "1m1ms"}}),
            "serviceMonitor.scrapeTimeout: is above serviceMonitor.interval",
        ),
        (
            json!({"serviceMonitor": {"devices": {"interval": "1m", "scrapeTimeout": "2m"}}}),
            "serviceMonitor.devices.scrapeTimeout: is above serviceMonitor.devices.interval",
        ),
        (
            json!({"serviceMonitor": {"devices": {"enabled": true}, "params": {"collect[]": ["user"]}}}),
            "serviceMonitor.devices.enabled: sets collect[] itself",
        ),
        (
            json!({"existingConfigMap": "a", "existingSecret": "b"}),
            "existingSecret: existingConfigMap is also set",
        ),
        (json!({"ingress": {"enabled": true}}), "ingress.hosts: is empty"),
        (
            json!({"ingress": {"enabled": true, "hosts": [{"host": "a"}]}, "shards": 2}),
            "ingress.enabled: cannot be used with several shards",
        ),
        (
            json!({"ingress": {"hosts": [{"host": "a", "paths": [{"path": "x"}]}]}}),
            "at '/ingress/hosts/0/paths/0/path'",
        ),
        (
            json!({"aws": {"region": "us-east-1"},
                   "extraEnv": [{"name": "AWS_REGION", "value": "us-west-2"}]}),
            "aws.region: is also set in extraEnv",
        ),
        (
            json!({"commonLabels": {"app.kubernetes.io/name": "mine"}}),
            "invalid propertyName 'app.kubernetes.io/name'",
        ),
        (
            json!({"podLabels": {"app.kubernetes.io/instance": "mine"}}),
            "invalid propertyName 'app.kubernetes.io/instance'",
        ),
        (json!({"prometheusRule": {"runbookUrl": "docs"}}), "at '/prometheusRule/runbookUrl'"),
        (
            json!({"prometheusRule": {"enabled": true, "disabled": ["WickrDeviceidle"]}}),
            "prometheusRule: unknown alert WickrDeviceidle",
        ),
    ] {
        let error = chart.template(&values, &[]).expect_err(&values.to_string());
        assert!(error.contains(reason), "{values}: {error}");
    }
}

//! The AWS settings of a network as `check` prints them, each with its source.

use std::{
    env,
    fmt::{self, Write as _},
};

use super::accounts;
use crate::{
    config::Aws,
    wickr::{Settings, Source, is_documented_region, proxy_of},
};

/// Writes the lines of a network.
pub(super) fn write(aws: &Aws, out: &mut String) -> fmt::Result {
    let settings = aws.settings();
    match &settings.region {
        Some(region) => writeln!(out, "  region       {} ({})", region.value, region.source)?,
        None => {
            writeln!(out, "  region       unknown here; from the instance metadata at the start")?
        }
    }
    write_endpoint(aws, &settings, out)?;
    write_credentials(aws, &settings, out)?;
    write_connection(aws, &settings, out)
}

fn write_endpoint(aws: &Aws, settings: &Settings, out: &mut String) -> fmt::Result {
    let mut sources = Vec::new();
    match &settings.endpoint_url {
        Some(endpoint) => sources.push(endpoint.source.to_string()),
        None if settings.region.is_none() => return Ok(()),
        None => sources.push("region".into()),
    }
    for (name, setting) in [("FIPS", &settings.fips), ("dual stack", &settings.dual_stack)] {
        match (setting.value, &settings.endpoint_url) {
            (false, _) => {}
            (true, None) => sources.push(format!("{name} by {}, also for STS", setting.source)),
            (true, Some(_)) => sources.push(format!("{name} by {}, for STS only", setting.source)),
        }
    }
    writeln!(out, "  endpoint     {} ({})", accounts::endpoint(aws), sources.join("; "))?;
    let region = settings.region.as_ref().map_or("", |region| region.value.as_str());
    if settings.endpoint_url.is_none() && !is_documented_region(region, settings.fips.value) {
        let kind = if settings.fips.value { "FIPS endpoint" } else { "endpoint" };
        writeln!(
            out,
            "    WARNING: AWS documents no {kind} of Wickr in {region}; `check --online` shows whether \
             there is one"
        )?;
    }
    Ok(())
}

fn write_credentials(aws: &Aws, settings: &Settings, out: &mut String) -> fmt::Result {
    let selected = match &settings.credentials {
        Source::Variable(name) => format!("from {name}"),
        Source::Instance if is_set("AWS_EC2_METADATA_DISABLED", "true") => {
            "NONE: no provider is configured, and AWS_EC2_METADATA_DISABLED is true".into()
        }
        Source::Instance => "instance metadata, because nothing else is set".into(),
        source => source.to_string(),
    };
    write!(out, "  credentials  {selected}")?;
    if let Some(role) = &aws.role_arn {
        let name = &settings.role_session_name;
        write!(out, ", then role {role}, session {} ({})", name.value, name.source)?;
    }
    writeln!(out)
}

fn is_set(variable: &str, to: &str) -> bool {
    env::var(variable).is_ok_and(|value| value.eq_ignore_ascii_case(to))
}

fn write_connection(aws: &Aws, settings: &Settings, out: &mut String) -> fmt::Result {
    match proxy_of(accounts::endpoint(aws).as_str()) {
        Ok(Some((proxy, variable))) => writeln!(out, "  proxy        {proxy} ({variable})")?,
        Ok(None) => writeln!(out, "  proxy        none")?,
        Err(error) => writeln!(out, "  proxy        INVALID: {error}")?,
    }
    let file = |name| env::var(name).ok().filter(|file| !file.is_empty());
    match (&settings.ca_bundle, file("SSL_CERT_FILE")) {
        (Some(bundle), _) => {
            writeln!(out, "  authorities  {} ({})", bundle.value.display(), bundle.source)
        }
        (None, Some(file)) => writeln!(out, "  authorities  {file} (SSL_CERT_FILE)"),
        (None, None) => writeln!(out, "  authorities  those of the system"),
    }
}

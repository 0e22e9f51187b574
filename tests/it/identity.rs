//! The services that hand out credentials, on one loopback port: instance metadata (version 2 only), the
//! container agent, STS, the SSO portal, and the token services of SSO and of `aws login`.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// The session token of the metadata.
const METADATA_TOKEN: &str = "metadata-token";

/// A request, as `METHOD path?query`, with its headers and body.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// Credentials to hand out.
#[derive(Debug, Clone, Default)]
struct Issued {
    key: String,
    secret: String,
    token: String,
    lifetime: SignedDuration,
}

#[derive(Debug, Default)]
pub struct Identity {
    url: Mutex<String>,
    issued: Mutex<Issued>,
    requests: Mutex<Vec<Request>>,
    /// Requests for a metadata token get no response, as beyond the hop limit.
    beyond_hop_limit: Mutex<bool>,
    /// STS refuses every role.
    refuses_roles: Mutex<bool>,
}

impl Identity {
    pub async fn start() -> Arc<Identity> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Identity::serve(listener)
    }

    pub fn serve(listener: tokio::net::TcpListener) -> Arc<Identity> {
        let identity = Arc::new(Identity::default());
        *identity.url.lock().unwrap() = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(Identity::respond)).with_state(identity.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        identity
    }

    pub fn url(&self) -> String {
        self.url.lock().unwrap().clone()
    }

    /// Hands out these credentials from now on.
    pub fn issue(&self, key: &str, secret: &str, token: &str, seconds: i64) {
        let lifetime = SignedDuration::from_secs(seconds);
        let (key, secret, token) = (key.into(), secret.into(), token.into());
        *self.issued.lock().unwrap() = Issued { key, secret, token, lifetime };
    }

    pub fn set_beyond_hop_limit(&self) {
        *self.beyond_hop_limit.lock().unwrap() = true;
    }

    pub fn refuse_roles(&self) {
        *self.refuses_roles.lock().unwrap() = true;
    }

    /// The requests so far whose line contains `part`.
    pub fn requests(&self, part: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.line.contains(part)).cloned().collect()
    }

    async fn respond(
        State(identity): State<Arc<Identity>>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let body = String::from_utf8(body.to_vec()).unwrap();
        let line = format!("{method} {uri}");
        let request = Request { line: line.clone(), headers: headers.clone(), body: body.clone() };
        identity.requests.lock().unwrap().push(request);
        let Issued { key, secret, token, lifetime } = identity.issued.lock().unwrap().clone();
        let expiration = Timestamp::now() + lifetime;
        let is_authorized =
            headers.get("x-aws-ec2-metadata-token").is_some_and(|token| token == METADATA_TOKEN);
        let metadata = json!({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
            "AccessKeyId": key, "SecretAccessKey": secret, "Token": token,
            "Expiration": expiration.to_string(),
        });
        match uri.path() {
            "/latest/api/token" if *identity.beyond_hop_limit.lock().unwrap() => {
                std::future::pending().await
            }
            "/latest/api/token" if method == Method::PUT => {
                ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], METADATA_TOKEN)
                    .into_response()
            }
            path if path.starts_with("/latest/") && !is_authorized => {
                StatusCode::UNAUTHORIZED.into_response()
            }
            "/latest/meta-data/placement/region" => "us-east-1".into_response(),
            "/latest/meta-data/iam/security-credentials/" => "exporter-role".into_response(),
            "/latest/meta-data/iam/security-credentials/exporter-role" | "/container" => {
                metadata.to_string().into_response()
            }
            "/federation/credentials" => json!({"roleCredentials": {
                "accessKeyId": key, "secretAccessKey": secret, "sessionToken": token,
                "expiration": expiration.as_millisecond(),
            }})
            .to_string()
            .into_response(),
            // SSO's token service.
            "/token" => json!({
                "accessToken": "renewed-token", "expiresIn": 28_800, "tokenType": "Bearer",
                "refreshToken": "next-refresh",
            })
            .to_string()
            .into_response(),
            // The token service of `aws login`.
            "/v1/token" => json!({
                "accessToken": {
                    "accessKeyId": key, "secretAccessKey": secret, "sessionToken": token,
                },
                "tokenType": "aws_sigv4", "expiresIn": lifetime.as_secs(),
                "refreshToken": "next-refresh",
            })
            .to_string()
            .into_response(),
            "/" if *identity.refuses_roles.lock().unwrap() => {
                let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                             <Message>not authorized to perform: sts:AssumeRole</Message></Error>\
                             </ErrorResponse>";
                (StatusCode::FORBIDDEN, error).into_response()
            }
            "/" => {
                let action = match body.contains("Action=AssumeRoleWithWebIdentity") {
                    true => "AssumeRoleWithWebIdentity",
                    false => "AssumeRole",
                };
                format!(
                    "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
                     <AssumedRoleUser><AssumedRoleId>A:x</AssumedRoleId>\
                     <Arn>arn:aws:sts::111122223333:assumed-role/r/x</Arn></AssumedRoleUser>\
                     <Credentials><AccessKeyId>{key}</AccessKeyId>\
                     <SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>\
                     <Expiration>{expiration}</Expiration></Credentials></{action}Result></{action}Response>"
                )
                .into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

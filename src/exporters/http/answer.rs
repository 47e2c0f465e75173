//! What goes wrong with a request, as JSON, and the headers that every answer carries.

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{
            ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request has no other answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// A filter that does not exist or a value it cannot have.
    #[error("`{value}` is not a value of `{parameter}`")]
    WrongValue {
        /// The query parameter.
        parameter: &'static str,
        /// What was given for it.
        value: String,
        /// What may be given.
        allowed: Vec<&'static str>,
    },
    /// A query parameter that does not exist.
    #[error("there is no parameter `{parameter}`")]
    NoSuchParameter {
        /// Its name.
        parameter: String,
        /// Those that exist.
        allowed: Vec<&'static str>,
    },
    /// The query cannot be decoded.
    #[error("the query cannot be read: {0}")]
    BrokenQuery(String),
    /// No finding has this id.
    #[error("there is no finding `{0}`; it may have expired")]
    NoSuchFinding(String),
    /// No route has this path.
    #[error("there is nothing here; see /, /metrics, /healthz, /readyz, /api/v1/findings, /api/v1/sources, /api/v1/causes")]
    NoSuchPath,
    /// Every route is a GET.
    #[error("only GET and HEAD are answered")]
    OnlyGet,
    /// The token is missing or wrong.
    #[error("this needs the agent's bearer token, or a request from the node itself (kubectl port-forward)")]
    Unauthorized,
    /// No token is configured, and the request comes from elsewhere.
    #[error("this is answered to loopback addresses only (kubectl port-forward), because the agent was started without a token")]
    LoopbackOnly,
    /// A loopback request under a foreign name: a web page may have been made to point here.
    #[error("this is answered under an IP address or `localhost` only")]
    ForeignHost,
    /// The token cannot be read.
    #[error("the agent cannot read its token")]
    NoToken,
    /// The core does not answer.
    #[error("the agent's core did not answer within 2 s")]
    CoreSilent,
    /// The core is no more.
    #[error("the agent is stopping")]
    CoreEnded,
    /// The metrics could not be written.
    #[error("the metrics could not be written: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::WrongValue { .. } | Self::NoSuchParameter { .. } | Self::BrokenQuery(_) => StatusCode::BAD_REQUEST,
            Self::NoSuchFinding(_) | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::OnlyGet => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::LoopbackOnly | Self::ForeignHost => StatusCode::FORBIDDEN,
            Self::CoreSilent | Self::CoreEnded => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoToken | Self::Metrics(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = self.to_string();
        let body = match &self {
            Self::WrongValue { parameter, allowed, .. } => json!({"error": error, "parameter": parameter, "allowed": allowed}),
            Self::NoSuchParameter { parameter, allowed } => json!({"error": error, "parameter": parameter, "allowed": allowed}),
            _ => json!({"error": error}),
        };
        let mut response = (self.status(), Json(body)).into_response();
        match self {
            Self::Unauthorized => response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"nodewhy\"")),
            Self::OnlyGet => response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD")),
            _ => None,
        };
        response
    }
}

/// Inline style is allowed because the page is one file, and is harmless because no text of the node
/// ever stands in one; everything else a page could load or do is not allowed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds what every answer carries. One request a connection: see [`super::connections`].
pub(super) async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

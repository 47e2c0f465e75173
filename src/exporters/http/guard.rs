//! Who may read what names pods.
//!
//! Flows in: a request's peer and headers. Flows out: yes, or the [`Problem`] to answer with.

use super::{Desk, SnapshotReader, answer::Problem, connections::Peer};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap,
        header::{AUTHORIZATION, HOST},
    },
    middleware::Next,
    response::Response,
};
use std::{
    fs::File,
    hint::black_box,
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// The longest token that is read.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Who may read the routes that name pods. A loopback peer always may: it is on the node or came
/// through `kubectl port-forward`, which the API server has authorized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// Nobody else.
    LoopbackOnly,
    /// Whoever sends the bearer token in this file. The file is read for each request, so that a
    /// rotated Secret holds at once.
    Token(PathBuf),
}

impl Guard {
    fn admit(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Reader, Problem> {
        let is_loopback = peer.is_loopback();
        let is_local = is_loopback && is_named_directly(headers);
        match self {
            Self::Token(path) if carries_token(headers, path).unwrap_or(false) => Ok(Reader::Authenticated),
            _ if is_local => Ok(Reader::Local),
            Self::Token(path) => Err(read_token(path).map_or(Problem::NoToken, |_| Problem::Unauthorized)),
            Self::LoopbackOnly if is_loopback => Err(Problem::ForeignHost),
            Self::LoopbackOnly => Err(Problem::LoopbackOnly),
        }
    }
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Somebody on this machine, whoever that is.
    Local,
    /// Whoever has the token.
    Authenticated,
}

/// The middleware of the routes that name pods.
pub(super) async fn check<R: SnapshotReader>(
    State(desk): State<Desk<R>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let reader = desk.guard.admit(peer, request.headers())?;
    request.extensions_mut().insert(reader);
    Ok(next.run(request).await)
}

/// Whether the request names its server by address or as `localhost`. A web page can make a browser
/// on this machine ask under the page's own name (DNS rebinding), and could then read the answer.
fn is_named_directly(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let is_address = host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    is_address || name.eq_ignore_ascii_case("localhost")
}

fn carries_token(headers: &HeaderMap, path: &Path) -> Result<bool, Problem> {
    let token = read_token(path).map_err(|_| Problem::NoToken)?;
    let token = token.trim_ascii();
    let given = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    Ok(!token.is_empty() && given.is_some_and(|given| is_same(given, token)))
}

fn read_token(path: &Path) -> io::Result<Vec<u8>> {
    let mut token = Vec::new();
    File::open(path)?.take(MAX_TOKEN_BYTES).read_to_end(&mut token)?;
    Ok(token)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

/// Compares in a time that depends on the lengths only, so that a token cannot be guessed byte by byte.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let difference = given.iter().zip(token).fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    given.len() == token.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::{io::Write, net::Ipv4Addr};

    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn headers(pairs: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a header"))).collect()
    }

    #[test]
    fn without_a_token_only_this_machine_may_read() {
        let guard = Guard::LoopbackOnly;
        assert!(guard.admit(HERE, &headers(&[])).is_ok());
        assert!(matches!(guard.admit(ELSEWHERE, &headers(&[(AUTHORIZATION, "Bearer x")])), Err(Problem::LoopbackOnly)));
    }

    #[test]
    fn a_token_opens_the_door_and_nothing_like_it_does() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"s3cret-token\n").expect("written");
        let guard = Guard::Token(file.path().into());
        let admitted = |value: &str| guard.admit(ELSEWHERE, &headers(&[(AUTHORIZATION, value)])).is_ok();
        assert!(admitted("Bearer s3cret-token"));
        assert!(admitted("bearer s3cret-token"));
        for wrong in ["Bearer s3cret-toke", "Bearer s3cret-token1", "Bearer ", "Bearer", "Basic s3cret-token", "s3cret-token", ""] {
            assert!(!admitted(wrong), "{wrong}");
        }
        assert!(guard.admit(ELSEWHERE, &headers(&[])).is_err());
        assert!(guard.admit(HERE, &headers(&[])).is_ok());
    }

    #[test]
    fn an_empty_or_missing_token_file_opens_nothing() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let empty = Guard::Token(file.path().into());
        assert!(matches!(empty.admit(ELSEWHERE, &headers(&[(AUTHORIZATION, "Bearer ")])), Err(Problem::Unauthorized)));
        let missing = Guard::Token(file.path().join("missing"));
        assert!(matches!(missing.admit(ELSEWHERE, &headers(&[(AUTHORIZATION, "Bearer x")])), Err(Problem::NoToken)));
    }

    #[test]
    fn a_foreign_name_for_this_machine_is_a_foreign_page() {
        let guard = Guard::LoopbackOnly;
        for direct in ["127.0.0.1:9909", "localhost:9909", "LOCALHOST", "[::1]:9909", "[::1]", "10.1.2.3"] {
            assert!(guard.admit(HERE, &headers(&[(HOST, direct)])).is_ok(), "{direct}");
        }
        for foreign in ["evil.example:9909", "localhost.evil.example", ""] {
            assert!(matches!(guard.admit(HERE, &headers(&[(HOST, foreign)])), Err(Problem::ForeignHost)), "{foreign}");
        }
    }
}

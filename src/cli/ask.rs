//! One question to a running agent, over HTTP.

use anyhow::{Context, anyhow};
use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

/// The agent answers from memory; a longer silence means that it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than the largest possible answer: every finding that is kept, with all its evidence.
const MOST_BYTES: u64 = 64 << 20;

/// What the agent said.
#[derive(Debug)]
pub(super) struct Answer {
    /// The line with the status, such as `HTTP/1.0 200 OK`.
    pub status: String,
    /// What follows the headers.
    pub body: String,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.status.split(' ').nth(1) == Some("200")
    }
}

/// Asks the agent at `address`, a name or an IP address and a port.
pub(super) fn get(address: &str, path: &str) -> anyhow::Result<Answer> {
    let place = host_and_port(address).with_context(|| format!("--address {address}: give HOST:PORT, like 127.0.0.1:9909"))?;
    answer_to(place, path).with_context(|| format!("http://{address}: the agent does not answer; is it running, and at this --address?"))
}

fn answer_to(place: (&str, u16), path: &str) -> anyhow::Result<Answer> {
    let mut stream = connect(place)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let host = stream.peer_addr()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).context("the answer is not text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    Ok(Answer { status: head.lines().next().unwrap_or_default().to_owned(), body: body.to_owned() })
}

/// The first of the name's addresses where somebody listens: `localhost` has two.
fn connect(place: (&str, u16)) -> anyhow::Result<TcpStream> {
    let mut failure = anyhow!("the name has no address");
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// An IPv6 address may stand without its brackets: Kubernetes' variables name a service's address so.
fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((bare, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (address, read) in [
            ("127.0.0.1:9909", Some(("127.0.0.1", 9909))),
            ("nodewhy.nodewhy.svc:80", Some(("nodewhy.nodewhy.svc", 80))),
            ("[fd00::1]:9909", Some(("fd00::1", 9909))),
            ("fd00::1:9909", Some(("fd00::1", 9909))),
            ("localhost", None),
            (":9909", None),
            ("localhost:port", None),
        ] {
            assert_eq!(host_and_port(address), read, "{address}");
        }
    }
}

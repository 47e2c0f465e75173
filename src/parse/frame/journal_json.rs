//! A line of `journalctl -o json` (systemd's journal export documentation): one JSON object an entry.

use super::{Frame, Origin, Stamp};
use crate::model::Pid;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Message,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<String>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<String>,
    #[serde(rename = "_PID")]
    pid: Option<String>,
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<String>,
}

/// journalctl prints a message that is not UTF-8 as an array of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) fn read(line: &str) -> Option<Frame<'_>> {
    if !line.starts_with('{') || !line.contains("\"MESSAGE\"") {
        return None;
    }
    let entry: Entry = serde_json::from_str(line).ok()?;
    let text = match entry.message {
        Message::Text(text) => text,
        Message::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let from_kernel = match entry.transport.as_deref() {
        Some(transport) => transport == "kernel",
        None => entry.identifier.as_deref() == Some("kernel"),
    };
    let pid = entry.pid.and_then(|pid| pid.parse().ok()).map(Pid);
    let origin = match (from_kernel, entry.identifier) {
        (true, _) => Origin::Kernel,
        (false, Some(name)) => Origin::Program { name: Cow::Owned(name), pid },
        (false, None) => Origin::Program { name: Cow::Borrowed("unknown"), pid },
    };
    Some(Frame {
        origin,
        time: entry.realtime.map(|micros| Stamp::Wall(Cow::Owned(micros))),
        level: entry.priority.and_then(|level| level.parse().ok()),
        facility: None,
        framed: true,
        text: Cow::Owned(text),
    })
}

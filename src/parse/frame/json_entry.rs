//! A line that is one JSON object: `journalctl -o json` (systemd's journal export documentation), and
//! what collectors such as Fluent Bit, Vector, Filebeat or Cloud Logging make of a journal or a file.

use super::{Frame, Origin, Stamp, dmesg};
use crate::model::Pid;
use serde_json::{Map, Value};
use std::borrow::Cow;

type Object = Map<String, Value>;

pub(super) fn read(line: &str) -> Option<Frame<'_>> {
    const MESSAGE: [&str; 6] = ["MESSAGE", "message", "log", "msg", "@message", "textPayload"];
    const IDENTIFIER: [&str; 5] = ["SYSLOG_IDENTIFIER", "syslog_identifier", "ident", "identifier", "appname"];
    if !line.starts_with('{') || !MESSAGE.iter().any(|key| line.contains(key)) {
        return None;
    }
    let Value::Object(whole) = serde_json::from_str(line).ok()? else { return None };
    let entry = ["jsonPayload", "_source"].iter().find_map(|key| whole.get(*key)?.as_object()).unwrap_or(&whole);
    let message = MESSAGE.iter().find_map(|key| entry.get(*key)).and_then(text)?;
    let message = message.trim_end_matches('\n');
    let transport = word(entry, &["_TRANSPORT", "transport"]);
    let identifier = word(entry, &IDENTIFIER);
    // Fluent Bit reads /dev/kmsg itself and names the parts of the record.
    let is_record = || entry.contains_key("usec") && entry.contains_key("priority");
    let from_kernel = match (transport, identifier) {
        (Some(transport), _) => transport == "kernel",
        (None, Some(identifier)) => identifier == "kernel",
        (None, None) => is_record(),
    };
    let time = || word(entry, &["__REALTIME_TIMESTAMP"]).map(|micros| Stamp::Wall(Cow::Owned(micros.to_owned())));
    let frame = match (from_kernel, identifier) {
        (true, _) => dmesg::after_kernel_tag(message, time()),
        (false, Some(name)) => Frame::program(name, pid(entry), time(), message),
        (false, None) if transport.is_some() => Frame::program("unknown", pid(entry), time(), message),
        // The entry does not say who wrote it; its text may, as a line of its own.
        (false, None) => Some(super::auto(message)).filter(|inner| inner.framed)?,
    };
    let level = word(entry, &["PRIORITY"]).and_then(|level| level.parse().ok());
    let origin = match frame.origin {
        Origin::Program { name, pid } => Origin::Program { name: Cow::Owned(name.into_owned()), pid },
        Origin::Kernel => Origin::Kernel,
        Origin::Unknown => Origin::Unknown,
    };
    let time = frame.time.map(|time| match time {
        Stamp::Wall(text) => Stamp::Wall(Cow::Owned(text.into_owned())),
        Stamp::Boot(at) => Stamp::Boot(at),
    });
    Some(Frame {
        origin,
        time,
        level: frame.level.or(level),
        facility: frame.facility,
        framed: true,
        text: Cow::Owned(frame.text.into_owned()),
    })
}

/// journalctl prints a message that is not UTF-8 as an array of bytes.
fn text(message: &Value) -> Option<String> {
    match message {
        Value::String(text) => Some(text.clone()),
        Value::Array(bytes) => {
            let bytes: Option<Vec<u8>> = bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

fn word<'e>(entry: &'e Object, keys: &[&str]) -> Option<&'e str> {
    keys.iter().find_map(|key| entry.get(*key)?.as_str())
}

fn pid(entry: &Object) -> Option<Pid> {
    word(entry, &["_PID", "pid"]).and_then(|pid| pid.parse().ok()).map(Pid)
}

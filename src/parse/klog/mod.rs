//! Decodes the log of Kubernetes components (klog, before that glog).
//!
//! Flows in: the text of a line, with or without what a distribution wraps around it. Flows out: a
//! [`KlogRecord`], whatever the generation (printf, structured, JSON), put together from several
//! lines where needed ([`KlogReader`]). Must not know: which component wrote it, what a message means.

mod header;
mod json;
mod pairs;
mod quoting;
mod reader;
mod record;
mod wrapper;

pub use header::{Headed, Header, Severity, Stamp, find as find_header};
pub use json::{JsonPairs, field as json_field};
pub use pairs::Value;
pub use quoting::{split_closing_quote, unescape};
pub use reader::{KlogReader, KlogText};
pub use record::{Form, KlogRecord, Pairs};

//! How sure an explanation is, in one word for a metric.

use super::DeathExplanation;
use crate::model::{Blame, Cause, Confidence};
use serde::{Deserialize, Serialize};

/// How well the witnesses of a crash agree on why it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correlation {
    /// A direct witness tells the cause: the kernel, the kubelet, the runtime, or the exit itself.
    Explained,
    /// The evidence leaves more than one reading.
    Ambiguous,
    /// Nobody tells who ended it, or no status describes the end.
    Unexplained,
}

impl Correlation {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Explained, Self::Ambiguous, Self::Unexplained];

    /// As a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explained => "explained",
            Self::Ambiguous => "ambiguous",
            Self::Unexplained => "unexplained",
        }
    }

    /// What an explanation comes to.
    pub fn of(told: &DeathExplanation) -> Self {
        match (told.cause, told.confidence, told.blame) {
            (Cause::Killed | Cause::Unknown, ..) => Self::Unexplained,
            (_, Confidence::Possible, _) | (_, Confidence::Likely, Blame::Insufficient) => Self::Ambiguous,
            _ => Self::Explained,
        }
    }
}

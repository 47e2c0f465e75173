//! Colour for a terminal, or none.

/// Colours text if asked to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    /// What matters most.
    pub(super) fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What can be passed over.
    pub(super) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A new trouble.
    pub(super) fn trouble(self, text: &str) -> String {
        self.with("31", text)
    }

    /// A trouble that has passed.
    pub(super) fn relief(self, text: &str) -> String {
        self.with("32", text)
    }

    /// A doubt.
    pub(super) fn doubt(self, text: &str) -> String {
        self.with("33", text)
    }

    /// The codes are those of ECMA-48, SGR.
    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.into() }
    }
}

//! HTML in which text cannot become markup.
//!
//! Flows in: the program's own markup, and text of the node. Flows out: a page. The two have
//! different doors: markup must be written in the program, everything else is escaped.

use crate::exporters::visible::visible;

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Markup that stands in the program.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text or the value of a quoted attribute, from anywhere.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in visible(text).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                plain => self.0.push(plain),
            }
        }
        self
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_opens_a_tag_or_leaves_an_attribute(text in any::<String>()) {
            let mut markup = Markup::default();
            markup.text(&text);
            let page = markup.finish();
            prop_assert!(!page.contains(['<', '>', '"', '\'']));
            prop_assert_eq!(page.matches('&').count(), page.matches(';').count() - visible(&text).matches(';').count());
        }
    }
}

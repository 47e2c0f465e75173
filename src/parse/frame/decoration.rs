//! What people and tools put around a line when they save or quote it: indentation, mail quotes,
//! list bullets, table bars, markdown, the file name that `grep` prints.

/// The line without its decoration.
pub(super) fn strip(line: &str) -> &str {
    // Editors on Windows put a byte order mark before the first line.
    let mut line = line.trim().trim_start_matches('\u{feff}').trim_start();
    while let Some(inner) = strip_one(line) {
        line = inner.trim();
    }
    strip_file_name(line)
}

fn strip_one(line: &str) -> Option<&str> {
    const QUOTES: [&str; 11] = ["> ", ">", "| ", "│ ", "- ", "* ", "+ ", "• ", "&gt; ", "# ", "// "];
    if let Some(inner) = QUOTES.iter().find_map(|mark| line.strip_prefix(mark)) {
        return Some(inner.strip_suffix(" |").unwrap_or(inner));
    }
    if let Some(inner) = line.strip_prefix('`') {
        return Some(inner.trim_end_matches('`'));
    }
    line.strip_suffix("<br>").or_else(|| line.strip_suffix("<br/>")).or_else(|| line.strip_suffix('`'))
}

/// `grep` over several files prints `/var/log/kern.log:` before a line of its own beginning.
fn strip_file_name(line: &str) -> &str {
    let Some((name, rest)) = line.split_once(':') else { return line };
    let is_file = !name.contains(' ') && (name.contains("/var/log/") || name.contains(".log") || matches!(name, "messages" | "syslog"));
    let begins_a_line = rest.starts_with(|first: char| first == '[' || first.is_alphanumeric());
    if is_file && begins_a_line { rest } else { line }
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn decoration_of_every_kind() {
        for decorated in [
            "    [ 1.000000] x\r\n",
            "> > [ 1.000000] x",
            "# [ 1.000000] x",
            ">>[ 1.000000] x",
            "- [ 1.000000] x",
            "`[ 1.000000] x`",
            "| [ 1.000000] x |",
            "* `[ 1.000000] x`",
            "[ 1.000000] x<br>",
            "\u{feff}[ 1.000000] x",
            "/var/log/kern.log.1:[ 1.000000] x",
        ] {
            assert_eq!(strip(decorated), "[ 1.000000] x", "{decorated}");
        }
    }

    #[test]
    fn words_of_the_kernel_are_no_decoration() {
        for text in ["---[ end Kernel panic", "** 12 printk messages dropped **", "rcu: \t3-...: x", ""] {
            assert_eq!(strip(text), text);
        }
    }
}

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
    // The field of `journalctl -o verbose`, `-o export` and `-o json-pretty`.
    if let Some(inner) = ["MESSAGE=", "\"MESSAGE\" : "].iter().find_map(|field| line.strip_prefix(field)) {
        return Some(inner);
    }
    if let Some(inner) = strip_string(line) {
        return Some(inner);
    }
    ["<br>", "<br/>", "`", "^M", "\\n"].iter().find_map(|end| line.strip_suffix(end))
}

/// `"text",`: a line as the element of a list.
fn strip_string(line: &str) -> Option<&str> {
    let mark = line.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    line.trim_end_matches(',').strip_prefix(mark)?.strip_suffix(mark)
}

/// `grep` over several files prints `/var/log/kern.log:` before a line of its own beginning, and
/// `/var/log/kern.log-` before one around it.
fn strip_file_name(line: &str) -> &str {
    let by_colon = line.split_once(':').filter(|(name, _)| is_file(name));
    let word = line.find([' ', '[']).and_then(|end| line.get(..end)).unwrap_or(line);
    let by_dash =
        || word.rsplit_once('-').filter(|(name, _)| is_file(name)).and_then(|(name, _)| Some((name, line.get(name.len() + 1..)?)));
    match by_colon.or_else(by_dash) {
        Some((_, rest)) if rest.starts_with(|first: char| first == '[' || first.is_alphanumeric()) => rest,
        _ => line,
    }
}

fn is_file(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    let is_log = || ["messages", "syslog", "dmesg", "kern.log"].iter().any(|log| base.starts_with(log));
    !name.contains(' ') && (name.contains("/var/log/") || name.contains(".log") || is_log())
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
            "kern.log-[ 1.000000] x",
            "\"[ 1.000000] x\",",
            "'[ 1.000000] x'",
            "[ 1.000000] x\\n",
            "[ 1.000000] x^M",
            "MESSAGE=[ 1.000000] x",
        ] {
            assert_eq!(strip(decorated), "[ 1.000000] x", "{decorated}");
        }
    }

    #[test]
    fn the_file_of_a_line_around_a_match() {
        for name in ["/var/log/syslog.1", "messages-20261122", "node-3.log"] {
            assert_eq!(strip(&format!("{name}-Nov 23 20:26:56 n kernel: x")), "Nov 23 20:26:56 n kernel: x");
        }
    }

    #[test]
    fn words_of_the_kernel_are_no_decoration() {
        for text in ["---[ end Kernel panic", "** 12 printk messages dropped **", "rcu: \t3-...: x", "syslog-ng[1]: x", ""] {
            assert_eq!(strip(text), text);
        }
    }
}

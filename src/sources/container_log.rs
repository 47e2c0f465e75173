//! The end of a dead container's log, read when the core asks for it.
//!
//! Flows in: which attempt of which container. Flows out: its last lines, as the runtime wrote them.
//! `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<attempt>.log` names the attempt exactly; when
//! the next attempt dies this file is gone, so it is read at the first sight of the end.

use crate::{
    model::PodUid,
    signal::{Body, ContainerLogTail},
};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// How much of the end is kept: whole lines, until they are this much together.
const TAIL_BYTES: usize = 4096;

/// A runtime writes at most 16 KiB of a program's line at a time (containerd's `max_container_log_line_size`, Docker's
/// buffer), behind a time and two words.
const LINE_BYTES: usize = 16 * 1024 + 256;

/// How much is read for it: the line that reaches over what is kept begins in it.
const READ_BYTES: u64 = (TAIL_BYTES + LINE_BYTES) as u64;

/// How many of its last lines are kept.
const TAIL_LINES: usize = 20;

/// Which log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Its uid in the kubelet's form.
    pub uid: PodUid,
    /// The container's name.
    pub container: String,
    /// Which life.
    pub attempt: u32,
}

/// Reads the end of a log. A log that is gone, empty or no regular file has nothing to say.
pub fn read_tail(pod_logs: &Path, wanted: &Wanted) -> Option<Body> {
    let path = path_of(pod_logs, wanted);
    let said = |lines: &Vec<String>| !lines.is_empty();
    // The kubelet makes an empty file when it rotates; the last words are in the one before.
    let lines = tail(&path).ok().filter(said).or_else(|| tail(&newest_rotated(&path).ok()?).ok()).filter(said)?;
    let Wanted { uid, container, attempt, .. } = wanted.clone();
    Some(Body::ContainerLog(ContainerLogTail { pod: uid, container, attempt, lines }))
}

fn path_of(pod_logs: &Path, wanted: &Wanted) -> PathBuf {
    let Wanted { namespace, pod, uid, container, attempt } = wanted;
    pod_logs.join(format!("{namespace}_{pod}_{uid}")).join(container).join(format!("{attempt}.log"))
}

fn tail(path: &Path) -> io::Result<Vec<String>> {
    // A FIFO or device in its place would block.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(READ_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut bytes)?;
    Ok(last_lines(&String::from_utf8_lossy(&bytes), start > 0))
}

/// The last lines, the one that reaches over [`TAIL_BYTES`] whole. A first line that is cut counts only where there is
/// no other.
fn last_lines(text: &str, first_is_cut: bool) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().collect();
    if first_is_cut && lines.len() > 1 {
        lines.remove(0);
    }
    let mut before = 0;
    let fits = |line: &&str| {
        let fits = before < TAIL_BYTES;
        before += line.len();
        fits
    };
    let mut last: Vec<_> = lines.into_iter().rev().take(TAIL_LINES).take_while(fits).map(String::from).collect();
    last.reverse();
    last
}

/// A log that was rotated just before the end: `<attempt>.log.<time>`.
fn newest_rotated(path: &Path) -> io::Result<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let rotated = fs::read_dir(dir)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let plain = rotated.filter(|entry| entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('.') && !rest.ends_with(".gz")));
    plain.max().map(|entry| dir.join(entry)).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(attempt: u32) -> Wanted {
        let uid = PodUid::parse("7145627f-44a7-433c-a896-a8c81a4df533").expect("uid");
        Wanted { namespace: "shop".into(), pod: "web".into(), uid, container: "app".into(), attempt }
    }

    fn lines(dir: &Path, attempt: u32) -> Option<Vec<String>> {
        match read_tail(dir, &wanted(attempt))? {
            Body::ContainerLog(tail) => Some(tail.lines),
            _ => None,
        }
    }

    #[test]
    fn the_last_lines_of_the_right_attempt() {
        let dir = tempfile::tempdir().expect("dir");
        let path = path_of(dir.path(), &wanted(3));
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        let text: String = (0..1000).map(|n| format!("2026-11-23T10:00:00Z stderr F line {n}\n")).collect();
        fs::write(&path, text + "2026-11-23T10:00:01Z stderr P no newline").expect("write");
        let lines = lines(dir.path(), 3).expect("a tail");
        assert_eq!(lines.len(), TAIL_LINES);
        assert!(lines[TAIL_LINES - 1].ends_with("no newline") && lines[0].contains("line 981"), "{lines:?}");
        assert_eq!(super::tests::lines(dir.path(), 4), None, "another attempt");
    }

    #[test]
    fn a_log_rotated_a_moment_before_is_found() {
        let dir = tempfile::tempdir().expect("dir");
        let path = path_of(dir.path(), &wanted(0));
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(path.with_extension("log.20260101-000000"), "old\n").expect("write");
        fs::write(path.with_extension("log.20261123-100000"), "new\n").expect("write");
        fs::write(path.with_extension("log.20261124-100000.gz"), "gz\n").expect("write");
        assert_eq!(lines(dir.path(), 0), Some(vec!["new".to_owned()]));
    }

    #[test]
    fn a_log_that_was_just_rotated_is_empty_and_the_one_before_has_the_last_words() {
        let dir = tempfile::tempdir().expect("dir");
        let path = path_of(dir.path(), &wanted(0));
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(&path, "").expect("write");
        assert_eq!(lines(dir.path(), 0), None);
        fs::write(path.with_extension("log.20261123-100000"), "last words\n").expect("write");
        assert_eq!(lines(dir.path(), 0), Some(vec!["last words".to_owned()]));
    }

    #[test]
    fn a_long_last_line_is_kept_whole_and_what_is_kept_is_bounded() {
        let dir = tempfile::tempdir().expect("dir");
        let path = path_of(dir.path(), &wanted(0));
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        let panic = format!("2026-11-23T10:00:01Z stderr F {{\"msg\":\"panic: boom\",\"stack\":\"{}\"}}", "main.go:7 ".repeat(500));
        let before = "2026-11-23T10:00:00Z stdout F served\n".repeat(1000);
        for after in ["", "2026-11-23T10:00:01Z stderr F exit status 2\n"] {
            fs::write(&path, format!("{before}{panic}\n{after}")).expect("write");
            let kept = lines(dir.path(), 0).expect("a tail");
            assert_eq!(kept.len(), 1 + after.lines().count(), "nothing before the long line");
            assert_eq!(kept[0], panic);
        }
        fs::write(&path, "x".repeat(100_000)).expect("write");
        let kept = lines(dir.path(), 0).expect("a tail");
        assert_eq!((kept.len(), kept[0].len() as u64), (1, READ_BYTES), "no runtime writes such a line");
    }

    #[test]
    fn what_is_no_file_does_not_block() {
        let dir = tempfile::tempdir().expect("dir");
        let path = path_of(dir.path(), &wanted(0));
        fs::create_dir_all(&path).expect("mkdir");
        assert_eq!(lines(dir.path(), 0), None);
    }
}

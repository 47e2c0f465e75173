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

/// How much of the end is read.
const TAIL_BYTES: u64 = 4096;

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
    let lines = tail(&path).or_else(|_| tail(&newest_rotated(&path)?)).ok()?;
    let Wanted { uid, container, attempt, .. } = wanted.clone();
    (!lines.is_empty()).then_some(Body::ContainerLog(ContainerLogTail { pod: uid, container, attempt, lines }))
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
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line is cut unless the whole file was read.
    let lines: Vec<_> = text.lines().skip(usize::from(start > 0)).map(String::from).collect();
    Ok(lines.into_iter().rev().take(TAIL_LINES).rev().collect())
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
    fn what_is_no_file_does_not_block() {
        let dir = tempfile::tempdir().expect("dir");
        let path = path_of(dir.path(), &wanted(0));
        fs::create_dir_all(&path).expect("mkdir");
        assert_eq!(lines(dir.path(), 0), None);
    }
}

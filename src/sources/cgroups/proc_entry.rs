//! One process as `/proc/<pid>` shows it.
//!
//! Flows in: the folder of a process. Flows out: a [`ProcessSample`]. `procfs` holds the folder open,
//! so the three files read are of one process even when its pid is used again in between. The two
//! long files have readers of their own here: `procfs`' reader of `status` fails on a name that is
//! not UTF-8, and any container may give its processes such names.

use super::figures::{self, keyed};
use crate::{
    model::{Bytes, Pid, ProcessKey},
    signal::ProcessSample,
};
use procfs::{FromRead, ProcError, ProcResult, process::Process};
use std::{
    io::{ErrorKind, Read},
    path::Path,
};

/// `status` and `stat` are under 3 kB; `Groups:` may make `status` longer.
const LONGEST: u64 = 16 << 10;

/// Why there is no sample of a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It ended before or during the reading, or is not visible.
    #[error("the process is gone")]
    Gone,
    /// The host mounts its `/proc` with `hidepid`.
    #[error("not allowed to read processes of other users")]
    Denied,
    /// The kernel wrote something unexpected.
    #[error("unexpected content: {0}")]
    Odd(String),
}

impl From<ProcError> for ProcessError {
    fn from(error: ProcError) -> Self {
        match error {
            ProcError::NotFound(_) | ProcError::Incomplete(_) => Self::Gone,
            ProcError::PermissionDenied(_) => Self::Denied,
            ProcError::Io(error, _) if matches!(error.kind(), ErrorKind::NotFound) || is_no_such_process(&error) => Self::Gone,
            other => Self::Odd(other.to_string()),
        }
    }
}

fn is_no_such_process(error: &std::io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| nix::errno::Errno::from_raw(code) == nix::errno::Errno::ESRCH)
}

/// Reads one process below `proc`.
///
/// # Errors
/// [`ProcessError`]; `Gone` is ordinary.
pub fn read(proc: &Path, pid: u32) -> Result<ProcessSample, ProcessError> {
    let process = Process::new_with_root(proc.join(pid.to_string()))?;
    let identity: Identity = process.read("stat")?;
    let memory: Memory = process.read("status")?;
    Ok(ProcessSample {
        key: ProcessKey { pid: Pid(pid), start_ticks: identity.start_ticks },
        inner_pid: memory.inner_pid,
        comm: identity.comm,
        rss_anon: memory.anon,
        rss_file: memory.file,
        rss_shmem: memory.shmem,
        swap: memory.swap,
        oom_score_adj: process.oom_score_adj().ok().map(i32::from),
    })
}

/// What `/proc/<pid>/stat` says of who it is (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    comm: String,
    start_ticks: u64,
}

impl FromRead for Identity {
    fn from_read<R: Read>(reader: R) -> ProcResult<Self> {
        let content = whole(reader)?;
        Self::parse(&content).ok_or(ProcError::Incomplete(None))
    }
}

impl Identity {
    /// `pid (comm) state ...`: the name may hold anything, also `) R 1 (`, so it ends at the last
    /// parenthesis. The start is field 22, the twentieth behind the name.
    fn parse(content: &[u8]) -> Option<Self> {
        let open = content.iter().position(|byte| *byte == b'(')?;
        let close = content.iter().rposition(|byte| *byte == b')')?;
        let comm = String::from_utf8_lossy(content.get(open + 1..close)?).into_owned();
        let mut fields = content.get(close + 1..)?.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        Some(Self { comm, start_ticks: figures::number(fields.nth(19)?)? })
    }
}

/// What `/proc/<pid>/status` says of its memory (proc_pid_status(5)).
#[derive(Debug, Default, PartialEq, Eq)]
struct Memory {
    inner_pid: Option<u32>,
    anon: Option<Bytes>,
    file: Option<Bytes>,
    shmem: Option<Bytes>,
    swap: Option<Bytes>,
}

impl FromRead for Memory {
    fn from_read<R: Read>(reader: R) -> ProcResult<Self> {
        Ok(Self::parse(&whole(reader)?))
    }
}

impl Memory {
    /// The name in the first line is escaped by the kernel and cannot forge another line.
    fn parse(content: &[u8]) -> Self {
        let mut memory = Self { inner_pid: innermost_pid(content), ..Self::default() };
        for (key, kib) in keyed(content) {
            let amount = Some(Bytes::from_kib(kib));
            match key {
                b"RssAnon" => memory.anon = amount,
                b"RssFile" => memory.file = amount,
                b"RssShmem" => memory.shmem = amount,
                b"VmSwap" => memory.swap = amount,
                _ => {}
            }
        }
        memory
    }
}

/// The last number of `NSpid:`, whose first is the pid as this `/proc` shows it (kernel 4.1).
fn innermost_pid(status: &[u8]) -> Option<u32> {
    pids_by_namespace(status)?.last().and_then(|word| u32::try_from(figures::number(word)?).ok())
}

/// The words of `NSpid:`, outermost namespace first.
pub fn pids_by_namespace(status: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"))?;
    Some(line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()))
}

fn whole<R: Read>(reader: R) -> ProcResult<Vec<u8>> {
    let mut content = Vec::with_capacity(2048);
    reader.take(LONGEST).read_to_end(&mut content)?;
    if content.is_empty() { Err(ProcError::Incomplete(None)) } else { Ok(content) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cgroups::testing::{Tree, process};
    use proptest::prelude::*;

    #[test]
    fn all_figures_of_a_process() {
        let tree = Tree::new();
        process(&tree, 412, "java", 77_000, "412\t7");
        let sample = read(tree.root(), 412).expect("sample");
        assert_eq!(sample.key, ProcessKey { pid: Pid(412), start_ticks: 77_000 });
        assert_eq!((sample.comm.as_str(), sample.inner_pid, sample.oom_score_adj), ("java", Some(7), Some(985)));
        assert_eq!((sample.rss_anon, sample.swap), (Some(Bytes::from_kib(2048)), Some(Bytes(0))));
        assert_eq!(sample.rss(), Some(Bytes::from_kib(2048 + 100)));
    }

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let after = (4..=22).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let line = format!("9 (a) R 1 (b) S {after} 0\n");
        assert_eq!(Identity::parse(line.as_bytes()), Some(Identity { comm: "a) R 1 (b".into(), start_ticks: 22 }));
        assert_eq!(Identity::parse(b"9 (a) S 1 2\n"), None);
    }

    #[test]
    fn a_kernel_thread_has_no_memory() {
        assert_eq!(Memory::parse(b"Name:\tkthreadd\nNSpid:\t2\n"), Memory { inner_pid: Some(2), ..Memory::default() });
    }

    #[test]
    fn a_process_that_is_gone_is_no_failure() {
        let tree = Tree::new();
        assert!(matches!(read(tree.root(), 1), Err(ProcessError::Gone)));
        process(&tree, 2, "half", 1, "2");
        tree.write("2/stat", "");
        assert!(matches!(read(tree.root(), 2), Err(ProcessError::Gone)));
    }

    #[test]
    fn this_very_process_is_read_from_the_real_kernel() {
        let sample = read(Path::new("/proc"), std::process::id()).expect("self");
        assert!(sample.rss().expect("rss") > Bytes(0));
        assert!(sample.key.start_ticks > 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Identity::parse(&content), Memory::parse(&content));
        }
    }
}

//! The lines that name a victim: `Killed process 4040 (stress) total-vm:..` and, before 5.1, the
//! decision `Kill process 4040 (stress) score 750 or sacrifice child`.
//!
//! The decision may name a thread, and the kernel may prefer a child: only `Killed` is the victim.

use super::fields::{self, LONGEST_COMM, LONGEST_DECODED_COMM};
use crate::model::{Bytes, Pid};

/// What stands before `Killed process`, as far as it tells the kind of OOM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// `Memory cgroup out of memory: `
    Memcg,
    /// `Out of memory: ` or `Out of memory (oom_kill_allocating_task): `
    Global,
}

impl Announcement {
    fn of(text: &str) -> Option<Self> {
        if text.contains("emory cgroup out of memory") {
            return Some(Self::Memcg);
        }
        (text.contains("ut of memory") || text.contains("ut of Memory")).then_some(Self::Global)
    }
}

/// A `Killed process` line, in any of its forms:
///
/// - `Killed process 7 (x) total-vm:8kB, anon-rss:4kB, file-rss:0kB` with `, shmem-rss:0kB` from
///   4.5 and `, UID:0 pgtables:44kB oom_score_adj:0` from 5.4;
/// - `Killed process 7, UID 0, (x) total-vm:..` (RHEL 6) and `Killed process 7 (x), UID 0, total-vm:..` (RHEL 7);
/// - `vsz:8kB` for `total-vm:8kB`, or no sizes (2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Killed<'a> {
    /// The kind of OOM, where the line says it.
    pub announcement: Option<Announcement>,
    /// The process.
    pub pid: Pid,
    /// Its name; `None` where the line is cut.
    pub comm: Option<&'a str>,
    /// Its user id.
    pub uid: Option<u32>,
    /// Address space.
    pub total_vm: Option<Bytes>,
    /// Resident anonymous memory.
    pub anon_rss: Option<Bytes>,
    /// Resident pages of files.
    pub file_rss: Option<Bytes>,
    /// Resident shared memory.
    pub shmem_rss: Option<Bytes>,
    /// `pgtables:` in KiB as printed; 5.4.0 to 5.4.8 print bytes under that name.
    pub page_tables_kib: Option<u64>,
    /// `oom_score_adj:`.
    pub oom_score_adj: Option<i32>,
}

impl<'a> Killed<'a> {
    /// Reads a line that holds `Killed process N` anywhere.
    pub fn parse(line: &'a str) -> Option<Self> {
        const WORDS: &str = "illed process ";
        let at = line.find(WORDS)?;
        let before = line.get(..at.checked_sub(1)?)?;
        let (pid, rest) = fields::leading_number(line.get(at + WORDS.len()..)?.trim_start())?;
        // What follows a pid is the name or the user id; anything else is some other program's message.
        if !(rest.is_empty() || rest.starts_with([' ', ',', '.'])) {
            return None;
        }
        let (comm, sizes) = name_and_rest(rest);
        Some(Self {
            announcement: Announcement::of(before),
            pid: Pid(pid),
            comm,
            uid: uid(rest, sizes),
            total_vm: fields::amount(sizes, "total-vm:").or_else(|| fields::amount(sizes, "vsz:")),
            anon_rss: fields::amount(sizes, "anon-rss:"),
            file_rss: fields::amount(sizes, "file-rss:"),
            shmem_rss: fields::amount(sizes, "shmem-rss:"),
            page_tables_kib: fields::kib(sizes, "pgtables:"),
            oom_score_adj: fields::number(sizes, "oom_score_adj:"),
        })
    }

    /// How many fields the line tells: a line that was wrapped tells more once it is whole.
    pub fn fields_known(&self) -> usize {
        let sizes = [self.total_vm, self.anon_rss, self.file_rss, self.shmem_rss].iter().flatten().count();
        let owner = usize::from(self.comm.is_some()) + usize::from(self.uid.is_some()) + usize::from(self.oom_score_adj.is_some());
        sizes + owner + usize::from(self.page_tables_kib.is_some())
    }

    /// Whether the line has the sizes that every kernel since 2.6.36 prints.
    pub fn has_sizes(&self) -> bool {
        self.file_rss.is_some()
    }
}

/// `UID 0, (x)` before the name, `(x), UID 0,` or `UID:0 pgtables` behind it.
fn uid(rest: &str, sizes: &str) -> Option<u32> {
    let before_name = rest.split('(').next().unwrap_or_default();
    fields::number(before_name, "UID ").or_else(|| fields::closed_number(sizes, "UID:")).or_else(|| fields::closed_number(sizes, "UID "))
}

/// Splits `(name) sizes`. The name itself may hold brackets, so the first thing that can only stand
/// behind a name ends it; without one, the last bracket that leaves a possible name.
fn name_and_rest(text: &str) -> (Option<&str>, &str) {
    let Some((_, name)) = text.split_once('(') else { return (None, text) };
    let ends = [") total-vm:", ") vsz:", "), UID ", ") score ", ") sharing same memory"];
    let end = ends.iter().filter_map(|end| name.rfind(end)).min().or_else(|| last_bracket(name));
    match end {
        Some(end) => (name.get(..end), name.get(end + 1..).unwrap_or_default()),
        None => (None, name),
    }
}

fn last_bracket(name: &str) -> Option<usize> {
    let fits = |end: &usize, longest| name.get(..*end).is_some_and(|comm| fields::comm_length(comm) <= longest);
    let brackets = || name.match_indices(')').map(|(at, _)| at);
    let strict = brackets().filter(|end| fits(end, LONGEST_COMM)).last();
    strict.or_else(|| brackets().find(|end| fits(end, LONGEST_DECODED_COMM)))
}

/// A `Kill process` line: what the kernel decided before it looked for a child to sacrifice (until 5.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The kind of OOM, where the line says it.
    pub announcement: Option<Announcement>,
    /// The chosen process, or one of its threads.
    pub pid: Pid,
    /// Its name.
    pub comm: Option<&'a str>,
}

impl<'a> Decision<'a> {
    /// Reads `Out of memory: Kill process 7 (x) score 5 or sacrifice child`. The line `Kill process
    /// 8 (y) sharing same memory`, which follows a kill, is no decision.
    pub fn parse(line: &'a str) -> Option<Self> {
        const WORDS: &str = "ill process ";
        let at = line.find(WORDS)?;
        let before = line.get(..at.checked_sub(1)?)?;
        let (pid, rest) = fields::leading_number(line.get(at + WORDS.len()..)?.trim_start())?;
        let (comm, rest) = name_and_rest(rest);
        let announcement = Announcement::of(before);
        let decides = rest.contains(" score ") || (announcement.is_some() && !rest.contains("sharing"));
        decides.then_some(Self { announcement, pid: Pid(pid), comm })
    }
}

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
    let strict = brackets().rfind(|end| fits(end, LONGEST_COMM));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn killed(line: &str) -> Killed<'_> {
        Killed::parse(line).expect(line)
    }

    #[test]
    fn every_era_names_the_same_process() {
        for line in [
            "Memory cgroup out of memory: Killed process 812 (worker) total-vm:9000kB, anon-rss:700kB, file-rss:30kB, shmem-rss:4kB, UID:33 pgtables:64kB oom_score_adj:969",
            "Killed process 812 (worker) total-vm:9000kB, anon-rss:700kB, file-rss:30kB, shmem-rss:4kB",
            "Killed process 812, UID 33, (worker) total-vm:9000kB, anon-rss:700kB, file-rss:30kB",
            "Killed process 812 (worker), UID 33, total-vm:9000kB, anon-rss:700kB, file-rss:30kB, shmem-rss:4kB",
            "Killed process 812 (worker) vsz:9000kB, anon-rss:700kB, file-rss:30kB",
        ] {
            let killed = killed(line);
            assert_eq!((killed.pid, killed.comm), (Pid(812), Some("worker")), "{line}");
            let sizes = [killed.total_vm, killed.anon_rss, killed.file_rss].map(|size| size.map(Bytes::kib));
            assert_eq!(sizes, [Some(9000), Some(700), Some(30)], "{line}");
            assert!(killed.uid.is_none_or(|uid| uid == 33) && killed.uid.is_some() == line.contains("UID"), "{line}");
        }
    }

    #[test]
    fn a_name_may_hold_anything() {
        for comm in ["(sd-pam)", "next (v16", "a) b", "a,task=b", "x,pid=1,uid=0", "()", "[", "CPU 2/KVM", "a\nb", ") UID ", "\\x0a\\x0a"] {
            let line = format!(
                "Out of memory: Killed process 9 ({comm}) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:-5"
            );
            let killed = killed(&line);
            assert_eq!((killed.comm, killed.uid, killed.oom_score_adj), (Some(comm), Some(0), Some(-5)));
            assert_eq!(killed.announcement, Some(Announcement::Global));
        }
    }

    #[test]
    fn a_cut_line_says_only_what_it_shows() {
        let line = "Memory cgroup out of memory: Killed process 77 (a b) total-vm:9000kB, anon-rss:700kB, file-rss:30kB, shmem-rss:4kB, UID:1000 pgtables:64kB oom_score_adj:969";
        let whole = killed(line);
        for end in "Memory cgroup out of memory: Killed process 77".len()..line.len() {
            let cut = killed(&line[..end]);
            assert_eq!(cut.pid, Pid(77));
            for (cut, whole) in [(cut.total_vm, whole.total_vm), (cut.anon_rss, whole.anon_rss), (cut.shmem_rss, whole.shmem_rss)] {
                assert!(cut.is_none() || cut == whole, "{}", &line[..end]);
            }
            assert!(cut.uid.is_none() || cut.uid == whole.uid);
            assert!(cut.comm.is_none() || cut.comm == whole.comm);
        }
    }

    #[test]
    fn words_of_other_programs_are_no_kill() {
        for line in
            ["Killed process", "Killed process group 12x", "Killed /user.slice due to memory pressure", "sending SIGTERM to process 5 (x)"]
        {
            assert_eq!(Killed::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_decision_is_not_the_sharing_of_memory() {
        let decision =
            Decision::parse("Memory cgroup out of memory: Kill process 31 (java) score 1801 or sacrifice child").expect("decision");
        assert_eq!((decision.pid, decision.comm, decision.announcement), (Pid(31), Some("java"), Some(Announcement::Memcg)));
        assert!(Decision::parse("Out of memory: kill process 31 (java) score 5 or a child").is_some());
        assert_eq!(Decision::parse("Kill process 32 (java) sharing same memory"), None);
    }
}

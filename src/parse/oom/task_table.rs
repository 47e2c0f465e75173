//! The table of tasks of a dump: who held the memory.
//!
//! The columns changed with nearly every era (`cpu oom_adj` in 2.6.32, `nr_ptes`, `nr_pmds`,
//! `nr_puds`, `pgtables_bytes` from 4.15, `rss_anon rss_file rss_shmem` from 6.8), so a row is read by
//! the names in the table's own header. Amounts are pages, except `pgtables_bytes`.

use super::fields;
use crate::model::{Bytes, Pid};
use serde::Serialize;
use std::sync::Arc;

/// One process of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskRow {
    /// The process, or the thread that still holds its memory.
    pub pid: Pid,
    /// Its thread group: the process.
    pub tgid: Option<Pid>,
    /// Its user id.
    pub uid: Option<u32>,
    /// Address space in pages.
    pub total_vm_pages: Option<u64>,
    /// Resident memory in pages.
    pub rss_pages: Option<u64>,
    /// Anonymous part of it in pages (6.8 and later, as the next two).
    pub rss_anon_pages: Option<u64>,
    /// File part of it in pages.
    pub rss_file_pages: Option<u64>,
    /// Shared memory and tmpfs part of it in pages.
    pub rss_shmem_pages: Option<u64>,
    /// Swapped out, in pages.
    pub swap_pages: Option<u64>,
    /// Page tables (4.15 and later).
    pub page_tables: Option<Bytes>,
    /// Its `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Its name.
    pub comm: Option<Arc<str>>,
}

/// What is kept of the table of one dump.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TaskTable {
    /// The largest consumers by resident memory, largest first.
    pub largest: Vec<TaskRow>,
    /// The victim's row.
    pub victim: Option<TaskRow>,
    /// How many rows the table had.
    pub rows: u32,
    /// Resident memory of all rows in pages; pages that processes share count more than once.
    pub rss_pages: u64,
}

impl TaskTable {
    /// How many of the largest consumers are kept.
    pub const LARGEST: usize = 16;
}

/// The columns of one table between the pid and the name, from its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<Column>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Uid,
    Tgid,
    TotalVm,
    Rss,
    RssAnon,
    RssFile,
    RssShmem,
    PageTableBytes,
    SwapEntries,
    OomScoreAdj,
    Other,
}

impl Columns {
    /// No kernel prints more than 11; a header with more is no header.
    const MOST: usize = 24;

    /// Reads `[ pid ]   uid  tgid total_vm      rss .. name`.
    pub fn parse(line: &str) -> Option<Self> {
        let (pid, names) = line.strip_prefix('[')?.split_once(']')?;
        if pid.trim() != "pid" {
            return None;
        }
        let columns: Vec<Column> = names.split_whitespace().filter(|name| *name != "name").take(Self::MOST).map(Column::named).collect();
        columns.contains(&Column::Tgid).then_some(Self(columns))
    }

    /// For rows whose header is lost: the first four columns and the last were always the same.
    fn guessed(row: &str) -> Self {
        let numbers = row.split_whitespace().take(Self::MOST).take_while(|field| field.parse::<i64>().is_ok()).count();
        let mut columns = vec![Column::Uid, Column::Tgid, Column::TotalVm, Column::Rss];
        columns.resize(numbers.max(5), Column::Other);
        if let Some(last) = columns.last_mut() {
            *last = Column::OomScoreAdj;
        }
        Self(columns)
    }
}

impl Column {
    fn named(name: &str) -> Self {
        match name {
            "uid" => Self::Uid,
            "tgid" => Self::Tgid,
            "total_vm" => Self::TotalVm,
            "rss" => Self::Rss,
            "rss_anon" => Self::RssAnon,
            "rss_file" => Self::RssFile,
            "rss_shmem" => Self::RssShmem,
            "pgtables_bytes" => Self::PageTableBytes,
            "swapents" => Self::SwapEntries,
            "oom_score_adj" => Self::OomScoreAdj,
            _ => Self::Other,
        }
    }
}

/// A row as printed: the pid, and the text behind the bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRow<'a> {
    /// The process.
    pub pid: Pid,
    /// Everything behind `[  123]`.
    pub fields: &'a str,
}

impl<'a> RawRow<'a> {
    /// Reads `[  123]  1000   123 ..`: at least uid, tgid and two amounts follow the pid.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (pid, rest) = fields::leading_number(line.strip_prefix('[')?.trim_start())?;
        let fields = rest.trim_start().strip_prefix(']')?;
        let is_row = fields.split_whitespace().take(4).filter(|field| field.bytes().all(|byte| byte.is_ascii_digit())).count() == 4;
        is_row.then_some(Self { pid: Pid(pid), fields })
    }

    /// Reads the fields by the names of their columns. A row that lost columns tells only what
    /// stands left of the damage.
    fn read(self, columns: &Columns) -> TaskRow {
        let mut row = TaskRow {
            pid: self.pid,
            tgid: None,
            uid: None,
            total_vm_pages: None,
            rss_pages: None,
            rss_anon_pages: None,
            rss_file_pages: None,
            rss_shmem_pages: None,
            swap_pages: None,
            page_tables: None,
            oom_score_adj: None,
            comm: None,
        };
        let mut rest = self.fields;
        for column in &columns.0 {
            let (field, behind) = next_field(rest);
            if field.parse::<i64>().is_err() {
                return row;
            }
            row.set(*column, field);
            rest = behind;
        }
        row.comm = Some(rest.trim()).filter(|name| !name.is_empty()).map(Into::into);
        if row.comm.is_none() {
            row.oom_score_adj = None;
        }
        row
    }
}

impl TaskRow {
    fn set(&mut self, column: Column, field: &str) {
        let number = field.parse::<u64>().ok();
        match column {
            Column::Uid => self.uid = field.parse().ok(),
            Column::Tgid => self.tgid = field.parse().ok().map(Pid),
            Column::TotalVm => self.total_vm_pages = number,
            Column::Rss => self.rss_pages = number,
            Column::RssAnon => self.rss_anon_pages = number,
            Column::RssFile => self.rss_file_pages = number,
            Column::RssShmem => self.rss_shmem_pages = number,
            Column::PageTableBytes => self.page_tables = number.map(Bytes),
            Column::SwapEntries => self.swap_pages = number,
            Column::OomScoreAdj => self.oom_score_adj = field.parse().ok(),
            Column::Other => {}
        }
    }
}

fn next_field(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Puts the table of one dump together.
#[derive(Debug, Clone, Default)]
pub struct TableReader {
    columns: Option<Columns>,
    largest: Vec<TaskRow>,
    /// The other rows without their names: the victim may be among them, and is named only later.
    others: Vec<TaskRow>,
    rows: u32,
    rss_pages: u64,
}

impl TableReader {
    /// A node may have tens of thousands of processes; beyond these a small victim's row is not found.
    const MOST_OTHERS: usize = 4096;

    /// Takes the header.
    pub fn begin(&mut self, columns: Columns) {
        self.columns = Some(columns);
    }

    /// Whether rows have come.
    pub fn has_rows(&self) -> bool {
        self.rows > 0
    }

    /// Takes one row.
    pub fn row(&mut self, raw: RawRow<'_>) {
        let row = match &self.columns {
            Some(columns) => raw.read(columns),
            None => raw.read(&Columns::guessed(raw.fields)),
        };
        self.rows = self.rows.saturating_add(1);
        self.rss_pages = self.rss_pages.saturating_add(row.rss_pages.unwrap_or(0));
        self.largest.push(row);
        if self.largest.len() > TaskTable::LARGEST {
            self.move_smallest();
        }
    }

    fn move_smallest(&mut self) {
        let smallest = self.largest.iter().enumerate().min_by_key(|(at, row)| (row.rss_pages, std::cmp::Reverse(*at))).map(|(at, _)| at);
        let Some(at) = smallest else { return };
        let row = self.largest.swap_remove(at);
        if self.others.len() < Self::MOST_OTHERS {
            self.others.push(TaskRow { comm: None, ..row });
        }
    }

    /// Whether the table has a row of this process.
    pub fn holds(&self, pid: Pid) -> bool {
        self.find(pid).is_some()
    }

    /// The row of a process: by its own pid, or as the thread that still holds its memory.
    fn find(&self, pid: Pid) -> Option<&TaskRow> {
        let rows = || self.largest.iter().chain(&self.others);
        rows().find(|row| row.pid == pid).or_else(|| rows().find(|row| row.tgid == Some(pid)))
    }

    /// The process that a listed thread belongs to.
    pub fn process_of(&self, thread: Pid) -> Option<Pid> {
        self.find(thread)?.tgid
    }

    /// Closes the table and points out the victim.
    pub fn finish(mut self, victim: Option<Pid>) -> TaskTable {
        let victim = victim.and_then(|pid| self.find(pid).cloned());
        self.largest.sort_by_key(|row| std::cmp::Reverse(row.rss_pages));
        TaskTable { largest: self.largest, victim, rows: self.rows, rss_pages: self.rss_pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(header: Option<&str>, rows: &[&str], victim: u32) -> TaskTable {
        let mut reader = TableReader::default();
        header.into_iter().for_each(|header| reader.begin(Columns::parse(header).expect("header")));
        rows.iter().for_each(|row| reader.row(RawRow::parse(row).expect("row")));
        reader.finish(Some(Pid(victim)))
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        for (header, row) in [
            (
                "[ pid ]   uid  tgid total_vm      rss cpu oom_adj oom_score_adj name",
                "[  71]    33    71     9000      250   0       0           500 a b",
            ),
            (
                "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
                "[   71]    33    71     9000      250      12        3           500 a b",
            ),
            (
                "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
                "[   71]    33    71     9000      250  12   3  3   500 a b",
            ),
            (
                "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
                "[     71]    33    71     9000      250    49152        3           500 a b",
            ),
            (
                "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
                "[     71]    33    71     9000      250      200       40        10    49152        3           500 a b",
            ),
        ] {
            let victim = table(Some(header), &[row], 71).victim.expect(header);
            assert_eq!((victim.uid, victim.total_vm_pages, victim.rss_pages), (Some(33), Some(9000), Some(250)), "{header}");
            assert_eq!((victim.oom_score_adj, victim.comm.as_deref()), (Some(500), Some("a b")), "{header}");
            assert_eq!(victim.page_tables.is_some(), header.contains("bytes"));
        }
    }

    #[test]
    fn a_lost_header_is_guessed_and_lost_columns_say_nothing() {
        let victim = table(None, &["[  5]  1000     5      100       50    4096        0          -998 sh"], 5).victim.expect("row");
        assert_eq!(
            (victim.uid, victim.rss_pages, victim.oom_score_adj, victim.comm.as_deref()),
            (Some(1000), Some(50), Some(-998), Some("sh"))
        );
        let header = "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name";
        let victim = table(Some(header), &["[  5]  1000     5      100       50    sh"], 5).victim.expect("row");
        assert_eq!((victim.uid, victim.rss_pages, victim.oom_score_adj, victim.comm), (Some(1000), Some(50), None, None));
    }

    #[test]
    fn the_largest_are_kept_and_a_small_victim_is_found() {
        let rows: Vec<String> =
            (1..=3000).map(|pid| format!("[{pid:7}]     0 {pid:5}      100 {pid:8}    4096        0             0 p{pid}")).collect();
        let header = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name";
        let table = table(Some(header), &rows.iter().map(String::as_str).collect::<Vec<_>>(), 7);
        assert_eq!((table.largest.len(), table.rows), (TaskTable::LARGEST, 3000));
        assert_eq!(table.largest.first().map(|row| row.pid), Some(Pid(3000)));
        assert_eq!(table.victim.and_then(|row| row.rss_pages), Some(7));
    }

    #[test]
    fn other_brackets_are_no_rows() {
        for line in ["[<ffffffff8178219b>] dump_stack+0x19/0x1b", "[ 12.5] foo", "[drm] 1 2 3 4", "[12] foo 1 2 3 4", "[12]"] {
            assert_eq!(RawRow::parse(line), None, "{line}");
        }
    }
}

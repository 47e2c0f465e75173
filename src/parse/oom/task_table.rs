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

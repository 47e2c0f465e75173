//! What tasks wait for when there is too little of it.

use std::fmt;

/// A resource whose shortage the kernel accounts as pressure (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Processor time.
    Cpu,
    /// Disks: also of pages that are read again because memory ran short.
    Io,
    /// Memory: time spent on reclaiming it.
    Memory,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Io, Self::Memory];

    /// The kernel's own word, which is the label of metrics, too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Memory => "memory",
        }
    }
}

/// As a person says it, after "short of".
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Io => "disk I/O",
            Self::Memory => "memory",
        })
    }
}

//! The process that is to be killed: this program again, called with a hidden first argument.
//!
//! It moves itself into its cgroup before it takes any memory, so that the kernel charges all of it
//! there. It ends by itself when it has taken far more than any limit allows, or when the starter
//! goes away, so that no demonstration leaves a machine in need.

use super::DemoError;
use crate::model::{Bytes, Pid};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs,
    hint::black_box,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::Duration,
};

/// The hidden first argument. What follows it is the cgroup's folder (`-` to stay) and the plan as JSON.
pub const HOG_ARGUMENT: &str = "__hog";

/// The name that the kernel's log shows.
const COMM: &str = "nodewhy-hog";

/// The exit status of a process that took all it was to take and lives.
const SURVIVED: u8 = 3;

/// Said when the process is in its cgroup and begins.
const BEGINS: &str = "begins";
/// Said when it has done its part and only stays.
const STAYS: &str = "stays";

/// What the process is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HogPlan {
    /// Take memory step by step.
    Grow {
        /// How much at a time.
        step: Bytes,
        /// The pause between steps, in milliseconds.
        pause_ms: u64,
        /// Where to give up: the kernel should have killed it long before.
        ceiling: Bytes,
    },
    /// Take this much and stay until the starter lets go.
    Hold {
        /// How much.
        amount: Bytes,
    },
    /// Start so many child processes, one after the other, wait for the end of each, then stay: the
    /// first process of the container lives on.
    Children {
        /// How many.
        count: u32,
        /// What each of them does.
        each: Box<HogPlan>,
    },
    /// Fill a file on a tmpfs, which is memory of the cgroup that no process holds.
    FillTmpfs {
        /// A folder on a tmpfs.
        folder: PathBuf,
        /// How much at a time.
        step: Bytes,
        /// Where to give up.
        ceiling: Bytes,
    },
}

impl HogPlan {
    /// Grows by a sixteenth of the limit every seventh of a second, to four times the limit: killed
    /// after two to three seconds, time enough to be seen growing.
    pub fn grow_beyond(limit: Bytes) -> Self {
        Self::Grow { step: Bytes(limit.0 / 16), pause_ms: 140, ceiling: Bytes(limit.0.saturating_mul(4)) }
    }

    /// The same without pauses: killed some milliseconds after its start.
    pub fn burst_beyond(limit: Bytes) -> Self {
        Self::Grow { step: Bytes(limit.0 / 4), pause_ms: 0, ceiling: Bytes(limit.0.saturating_mul(4)) }
    }
}

impl HogPlan {
    /// What a plan needs of the machine, asked before anything is started.
    fn check(&self) -> Result<(), DemoError> {
        match self {
            Self::FillTmpfs { folder, .. } if !is_tmpfs(folder) => Err(DemoError::NotTmpfs { path: folder.clone() }),
            Self::Children { each, .. } => each.check(),
            _ => Ok(()),
        }
    }
}

fn is_tmpfs(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|facts| facts.filesystem_type() == TMPFS_MAGIC)
}

/// The program to call for a hog: one whose `main` hands [`HOG_ARGUMENT`] and what follows to [`run_hog`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HogProgram {
    /// The executable.
    pub path: PathBuf,
    /// Arguments before [`HOG_ARGUMENT`].
    pub leading: Vec<OsString>,
}

impl HogProgram {
    /// This very program.
    ///
    /// # Errors
    /// [`DemoError::NoHog`] when the system does not say where it is.
    pub fn this() -> Result<Self, DemoError> {
        let path = std::env::current_exe().map_err(|error| DemoError::NoHog { detail: error.to_string() })?;
        Ok(Self { path, leading: Vec::new() })
    }

    fn command(&self, folder: &Path, plan: &HogPlan) -> io::Result<Command> {
        let mut command = Command::new(&self.path);
        command.args(&self.leading).arg(HOG_ARGUMENT).arg(folder).arg(serde_json::to_string(plan)?);
        Ok(command)
    }
}

/// How a hog ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HogEnd {
    /// By SIGKILL, which nobody but the kernel sent.
    Killed,
    /// In any other way.
    Ended(ExitStatus),
}

/// A running hog. Dropping it ends it.
#[derive(Debug)]
pub struct Hog {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Hog {
    pub(super) fn start(program: &HogProgram, folder: &Path, plan: &HogPlan) -> Result<Self, DemoError> {
        let no_hog = |detail: String| DemoError::NoHog { detail };
        plan.check()?;
        let mut command = program.command(folder, plan).map_err(|error| no_hog(error.to_string()))?;
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|error| no_hog(format!("{}: {error}", program.path.display())))?;
        let said = child.stdout.take().ok_or_else(|| no_hog("it has no output".into()))?;
        let mut hog = Self { child, said: BufReader::new(said) };
        if hog.hears(BEGINS) { Ok(hog) } else { Err(no_hog("it ended before it began".into())) }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Waits until a hog that stays has taken all it was to take, and all its children have ended.
    ///
    /// # Errors
    /// [`DemoError::NoHog`] when it ended instead.
    pub fn wait_until_it_stays(&mut self) -> Result<(), DemoError> {
        if self.hears(STAYS) { Ok(()) } else { Err(DemoError::NoHog { detail: "it ended instead of staying".into() }) }
    }

    /// Waits for its end. A hog that stays is let go first.
    ///
    /// # Errors
    /// [`DemoError::NoHog`] when the system does not tell.
    pub fn wait(mut self) -> Result<HogEnd, DemoError> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|error| DemoError::NoHog { detail: error.to_string() })?;
        Ok(if was_killed(status) { HogEnd::Killed } else { HogEnd::Ended(status) })
    }

    /// Reads its output up to a line that is `word`; false when it ended without.
    fn hears(&mut self, word: &str) -> bool {
        let mut line = String::new();
        while self.said.read_line(&mut line).is_ok_and(|length| length > 0) {
            if line.trim() == word {
                return true;
            }
            line.clear();
        }
        false
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(nix::sys::signal::Signal::SIGKILL as i32)
}

/// The body of the hidden command: `arguments` are those behind [`HOG_ARGUMENT`]. `program` is how it
/// was called itself, for its children.
pub fn run_hog(program: &HogProgram, arguments: &[OsString]) -> ExitCode {
    let [folder, plan] = arguments else { return fail("it takes a folder and a plan") };
    let Some(plan) = plan.to_str().and_then(|plan| serde_json::from_str::<HogPlan>(plan).ok()) else {
        return fail("its plan is not understood");
    };
    // `0` means the writer itself, whatever pid namespace it is in.
    if folder != "-"
        && let Err(error) = fs::write(Path::new(folder).join("cgroup.procs"), "0")
    {
        return fail(&format!("it cannot move into {}: {error}", Path::new(folder).display()));
    }
    let _ = fs::write("/proc/self/comm", COMM);
    // As a burstable pod's; also if the starter is protected from the OOM killer.
    let _ = fs::write("/proc/self/oom_score_adj", "985");
    say(BEGINS);
    match carry_out(program, &plan) {
        Ok(code) => code,
        Err(error) => fail(&error.to_string()),
    }
}

fn carry_out(program: &HogProgram, plan: &HogPlan) -> io::Result<ExitCode> {
    match plan {
        HogPlan::Grow { step, pause_ms, ceiling } => Ok(grow(*step, Duration::from_millis(*pause_ms), *ceiling)),
        HogPlan::Hold { amount } => {
            let held = take(*amount);
            stay();
            drop(black_box(held));
            Ok(ExitCode::SUCCESS)
        }
        HogPlan::Children { count, each } => {
            for _ in 0..*count {
                program.command(Path::new("-"), each)?.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
            }
            stay();
            Ok(ExitCode::SUCCESS)
        }
        HogPlan::FillTmpfs { folder, step, ceiling } => fill(folder, *step, *ceiling),
    }
}

fn grow(step: Bytes, pause: Duration, ceiling: Bytes) -> ExitCode {
    let mut held = Vec::new();
    let mut total = Bytes(0);
    while total < ceiling {
        held.push(take(step));
        total = total.saturating_add(step).max(Bytes(total.0 + 1));
        thread::sleep(pause);
    }
    drop(black_box(held));
    ExitCode::from(SURVIVED)
}

/// Memory that was written to, so that it is really there.
fn take(amount: Bytes) -> Vec<u8> {
    black_box(vec![1; usize::try_from(amount.0).unwrap_or(usize::MAX)])
}

/// The file has no name any more when it grows: it goes with the process.
fn fill(folder: &Path, step: Bytes, ceiling: Bytes) -> io::Result<ExitCode> {
    let path = folder.join(format!("{COMM}-{}", std::process::id()));
    let mut file = fs::File::create_new(&path)?;
    fs::remove_file(&path)?;
    let page = [1u8; 4096];
    let pages = step.0.div_ceil(4096).max(1);
    let mut total = Bytes(0);
    while total < ceiling {
        (0..pages).try_for_each(|_| file.write_all(&page))?;
        total = total.saturating_add(Bytes(pages * 4096));
    }
    Ok(ExitCode::from(SURVIVED))
}

/// Until the starter closes its end or is gone.
fn stay() {
    say(STAYS);
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn say(word: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{word}");
    let _ = out.flush();
}

fn fail(detail: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{HOG_ARGUMENT}: {detail}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_command_line() {
        let plan = HogPlan::Children { count: 3, each: Box::new(HogPlan::burst_beyond(Bytes(32 << 20))) };
        let program = HogProgram { path: "/bin/nodewhy".into(), leading: vec!["x".into()] };
        let command = program.command(Path::new("/f"), &plan).expect("command");
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_str().expect("text")).collect();
        assert_eq!(arguments[..3], ["x", HOG_ARGUMENT, "/f"]);
        assert_eq!(serde_json::from_str::<HogPlan>(arguments[3]).expect("plan"), plan);
    }

    #[test]
    fn without_a_limit_it_gives_up_at_its_ceiling() {
        let code = grow(Bytes(4096), Duration::ZERO, Bytes(8192));
        assert_eq!(code, ExitCode::from(SURVIVED));
    }

    #[test]
    fn a_folder_on_a_disk_is_not_filled() {
        let plan = HogPlan::FillTmpfs { folder: "/proc".into(), step: Bytes(4096), ceiling: Bytes(8192) };
        assert!(matches!(plan.check(), Err(DemoError::NotTmpfs { .. })));
        assert!(HogPlan::Children { count: 1, each: Box::new(plan) }.check().is_err());
    }
}

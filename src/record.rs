//! Recordings: the signals of a node in a file, to be diagnosed again later or elsewhere.
//!
//! Flows in: signals, or a file. Flows out: the file, or its signals one by one. The form is JSON
//! lines, compressed with zstd: first `{"nodewhy_recording":1,"agent":"0.1.0"}`, then one
//! [`Signal`] a line. The file is a row of whole zstd frames, each of whole lines, so that a
//! recorder that is killed leaves all but its last seconds readable, and any zstd tool reads them.
//! Uncompressed JSON lines are a recording too. What a signal means is not known here, but that lines of the kubelet's
//! log may hold what nobody should read: they are kept without it.

use crate::{
    parse::kubelet::Redactor,
    signal::{Body, KubeletLine, KubeletOrigin, Signal, VERSION},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// A line is at most this long. The largest signal is a list of a node's 110 pods, some 200 KiB.
pub const LINE_LIMIT: usize = 4 << 20;
/// Lines are collected up to this size for one frame: enough to compress well.
const FRAME: usize = 256 << 10;
/// A frame is written at the latest when signals are this much apart, in seconds of their own time.
const FRAME_SECONDS: u64 = 5;
/// Little work for each signal; a higher level gains a tenth.
const COMPRESSION: i32 = 3;
/// How a zstd frame begins (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the signals' form.
    #[serde(rename = "nodewhy_recording")]
    pub version: u32,
    /// The version of the agent that recorded.
    pub agent: String,
}

/// Why a recording, or a line of it, cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be made, usually because one of this name exists.
    #[error("cannot make the recording {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be opened.
    #[error("cannot open the recording {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not begin like a recording.
    #[error("{} is no recording: {why}; make one with `nodewhy record`", path.display())]
    NotARecording {
        /// The file.
        path: PathBuf,
        /// What its first line is instead.
        why: String,
    },
    /// The recording's form is another than this program's.
    #[error("{} is a recording of version {found} (agent {agent}), this program reads version {expected}; use the nodewhy that made it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it states.
        found: u32,
        /// [`VERSION`].
        expected: u32,
        /// The agent that recorded.
        agent: String,
    },
    /// One line is not a signal. The following lines can be read.
    #[error("{}, line {line}: not a signal: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, the header's being 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// One line is too long. The following lines can be read.
    #[error("{}, line {line}: longer than {LINE_LIMIT} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its number.
        line: u64,
    },
    /// The file cannot be read further: it is cut off or damaged. What was before it is good.
    #[error("{}, line {line}: the recording cannot be read further (cut off or damaged): {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The line at which it ends.
        line: u64,
        /// What the system or the decompression said.
        source: io::Error,
    },
}

/// Writes a recording.
pub struct Recorder<W: Write> {
    writer: W,
    compressor: zstd::bulk::Compressor<'static>,
    /// Lines of the next frame.
    lines: Vec<u8>,
    /// When its first signal was read, in seconds since boot.
    since: Option<u64>,
    redactor: Redactor,
}

impl Recorder<File> {
    /// Makes a new file; one that exists is never overwritten.
    ///
    /// # Errors
    /// [`RecordingError::Create`].
    pub fn create(path: &Path, agent: &str) -> Result<Self, RecordingError> {
        File::create_new(path)
            .and_then(|file| Self::new(file, agent))
            .map_err(|source| RecordingError::Create { path: path.into(), source })
    }
}

impl<W: Write> Recorder<W> {
    /// Begins a recording with its header.
    ///
    /// # Errors
    /// What the writer said.
    pub fn new(writer: W, agent: &str) -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(COMPRESSION)?;
        compressor.include_checksum(true)?;
        let mut recorder = Self { writer, compressor, lines: Vec::new(), since: None, redactor: Redactor::default() };
        recorder.line(&Header { version: VERSION, agent: agent.into() })?;
        recorder.flush()?;
        Ok(recorder)
    }

    /// Adds a signal. It reaches the file with its frame: when that is large enough, with the first
    /// signal five seconds after the frame's first, or with [`Recorder::flush`].
    ///
    /// # Errors
    /// What the writer said.
    pub fn append(&mut self, signal: &Signal) -> io::Result<()> {
        match &signal.body {
            Body::Kubelet(line) => {
                let text = self.redactor.line(&stream_of(&line.origin), &line.text);
                self.line(&Signal { at: signal.at, body: Body::Kubelet(KubeletLine { origin: line.origin.clone(), text }) })?;
            }
            _ => self.line(signal)?,
        }
        let now = signal.at.boot.0 / 1_000_000;
        let since = *self.since.get_or_insert(now);
        // Time that runs backwards is another boot.
        if self.lines.len() >= FRAME || now.abs_diff(since) >= FRAME_SECONDS { self.flush() } else { Ok(()) }
    }

    /// Ends the frame and writes it. To be called when the node is silent, and at the end.
    ///
    /// # Errors
    /// What the writer said.
    pub fn flush(&mut self) -> io::Result<()> {
        self.since = None;
        if self.lines.is_empty() {
            return Ok(());
        }
        let frame = self.compressor.compress(&self.lines)?;
        self.lines.clear();
        self.writer.write_all(&frame)?;
        self.writer.flush()
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, value)?;
        self.lines.push(b'\n');
        Ok(())
    }
}

/// What lines follow each other in.
fn stream_of(origin: &KubeletOrigin) -> String {
    match origin {
        KubeletOrigin::Journal { unit, stream: Some(stream), .. } => format!("{unit} {stream}"),
        KubeletOrigin::Journal { unit, pid, .. } => format!("{unit} {pid:?}"),
        KubeletOrigin::File { path, .. } => path.to_string(),
    }
}

impl<W: Write> Drop for Recorder<W> {
    fn drop(&mut self) {
        // Nobody is left to be told; whoever wants to know flushes first.
        let _ = self.flush();
    }
}

/// Reads a recording: an iterator of its signals. A bad line is an error, and the lines after it
/// follow; at a cut or damage the error is the last item.
pub struct Recording {
    path: PathBuf,
    header: Header,
    lines: Lines,
    ended: bool,
}

impl Recording {
    /// Opens a recording and reads its header.
    ///
    /// # Errors
    /// It cannot be opened, is no recording, or one of another version.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let reader = File::open(path).and_then(decompressed).map_err(|source| RecordingError::Open { path: path.into(), source })?;
        Self::read(path, reader)
    }

    /// Reads a recording that is part of the program.
    ///
    /// # Errors
    /// It is no recording, or one of another version.
    pub fn shipped(name: &str, bytes: &'static [u8]) -> Result<Self, RecordingError> {
        let path = Path::new(name);
        let reader = decompressed(bytes).map_err(|source| RecordingError::Open { path: path.into(), source })?;
        Self::read(path, reader)
    }

    fn read(path: &Path, reader: Box<dyn BufRead + Send>) -> Result<Self, RecordingError> {
        let mut lines = Lines { reader, line: Vec::new(), number: 0 };
        let header = read_header(&mut lines).map_err(|why| RecordingError::NotARecording { path: path.into(), why })?;
        if header.version == VERSION {
            return Ok(Self { path: path.into(), header, lines, ended: false });
        }
        Err(RecordingError::Version { path: path.into(), found: header.version, expected: VERSION, agent: header.agent })
    }

    /// What the first line says.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

impl Iterator for Recording {
    type Item = Result<Signal, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.lines.next();
        let (path, line) = (|| self.path.clone(), self.lines.number);
        match next {
            Ok(Next::Line) => {
                Some(serde_json::from_slice(&self.lines.line).map_err(|source| RecordingError::Line { path: path(), line, source }))
            }
            Ok(Next::TooLong) => Some(Err(RecordingError::TooLong { path: path(), line })),
            Ok(Next::End) => {
                self.ended = true;
                None
            }
            Err(source) => {
                self.ended = true;
                Some(Err(RecordingError::Read { path: path(), line, source }))
            }
        }
    }
}

fn read_header(lines: &mut Lines) -> Result<Header, String> {
    match lines.next() {
        Ok(Next::Line) => serde_json::from_slice(&lines.line).map_err(|error| format!("its first line is not the header: {error}")),
        Ok(Next::TooLong) => Err("its first line is too long".into()),
        Ok(Next::End) => Err("it is empty".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The file's lines, decompressed where it begins like zstd.
fn decompressed(mut file: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut start = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut start)?;
    let compressed = start == ZSTD_MAGIC;
    let whole = io::Cursor::new(start).chain(file);
    Ok(if compressed { Box::new(BufReader::new(zstd::Decoder::new(whole)?)) } else { Box::new(BufReader::new(whole)) })
}

/// Lines of bounded length.
struct Lines {
    reader: Box<dyn BufRead + Send>,
    /// The current line, reused.
    line: Vec<u8>,
    /// Its number, from 1.
    number: u64,
}

/// What comes next.
enum Next {
    /// It is in [`Lines::line`].
    Line,
    /// It was longer than [`LINE_LIMIT`] and is passed over.
    TooLong,
    End,
}

impl Lines {
    /// Reads the next line that is not empty. Its newline is left off; the last line may have none.
    fn next(&mut self) -> io::Result<Next> {
        loop {
            self.number = self.number.saturating_add(1);
            self.line.clear();
            let limit = u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
            let length = Read::by_ref(&mut self.reader).take(limit).read_until(b'\n', &mut self.line)?;
            let ended = self.line.pop_if(|byte| *byte == b'\n').is_some();
            if length == 0 {
                return Ok(Next::End);
            }
            if !ended && self.line.len() > LINE_LIMIT {
                self.line = Vec::new();
                self.reader.skip_until(b'\n')?;
                return Ok(Next::TooLong);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Next::Line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{BootTime, Moment},
        signal::{Body, KernelLine},
    };
    use proptest::prelude::*;

    fn signal(seconds: u64, text: &str) -> Signal {
        let wall = "2026-05-04T10:00:00Z".parse().expect("time");
        Signal { at: Moment { boot: BootTime(seconds * 1_000_000), wall }, body: Body::Kernel(KernelLine::Kmsg(text.into())) }
    }

    fn recorded(signals: &[Signal]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut recorder = Recorder::new(&mut file, "0.1.0").expect("header");
        signals.iter().for_each(|signal| recorder.append(signal).expect("append"));
        drop(recorder);
        file
    }

    fn open(bytes: &[u8]) -> Result<Recording, RecordingError> {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path().join("a.nodewhy");
        std::fs::write(&path, bytes).expect("write");
        Recording::open(&path)
    }

    fn split(recording: Recording) -> (Vec<Signal>, Vec<String>) {
        let (good, bad): (Vec<_>, Vec<_>) = recording.partition(Result::is_ok);
        (good.into_iter().flatten().collect(), bad.into_iter().filter_map(|item| item.err().map(|error| error.to_string())).collect())
    }

    fn plain(lines: &[&str]) -> Vec<u8> {
        let header = format!("{{\"nodewhy_recording\":{VERSION},\"agent\":\"x\"}}");
        [vec![header.as_str()], lines.to_vec()].concat().join("\n").into_bytes()
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let signals: Vec<Signal> = (0..1000).map(|second| signal(second, &format!("6,{second},0,-;line"))).collect();
        let bytes = recorded(&signals);
        let recording = open(&bytes).expect("open");
        assert_eq!(recording.header(), &Header { version: VERSION, agent: "0.1.0".into() });
        assert_eq!(split(recording), (signals, vec![]));
    }

    #[test]
    fn what_the_kubelet_prints_of_a_containers_environment_is_not_recorded() {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
        let text = "E0307 04:05:06.1 1 a.go:1] container &Container{Name:app,Env:[]EnvVar{EnvVar{Name:KEY,Value:hunter2,ValueFrom:nil,},},} start failed in pod web_ns(u): ErrImagePull: x";
        let line = Signal { body: Body::Kubelet(KubeletLine { origin, text: text.into() }), ..signal(1, "") };
        let (signals, _) = split(open(&recorded(&[line])).expect("a recording"));
        let Body::Kubelet(line) = &signals[0].body else { panic!("{signals:?}") };
        assert_eq!(line.text, "E0307 04:05:06.1 1 a.go:1] container app start failed in pod web_ns(u): ErrImagePull: x");
    }

    #[test]
    fn a_killed_recorder_leaves_all_but_its_last_seconds() {
        let mut file = Vec::new();
        let mut recorder = Recorder::new(&mut file, "0.1.0").expect("header");
        for second in 0..12 {
            recorder.append(&signal(second, "text")).expect("append");
        }
        std::mem::forget(recorder);
        let (good, bad) = split(open(&file).expect("open"));
        assert_eq!((good.len(), bad.len()), (12, 0), "frames end after 5 and 11 seconds");
    }

    #[test]
    fn the_good_part_of_a_truncated_file_is_delivered() {
        let signals: Vec<Signal> = (0..100).map(|second| signal(second, &format!("text {second}"))).collect();
        let bytes = recorded(&signals);
        let (good, bad) = split(open(&bytes[..bytes.len() - 20]).expect("open"));
        assert!(good.len() >= 90 && good.len() < 100 && good == signals[..good.len()], "{}", good.len());
        assert_eq!(bad.len(), 1);
        assert!(bad[0].contains("a.nodewhy, line ") && bad[0].contains("cut off"), "{bad:?}");
    }

    #[test]
    fn one_bad_line_does_not_hide_the_next() {
        let line = serde_json::to_string(&signal(1, "text")).expect("json");
        let (good, bad) = split(open(&plain(&[&line, "{\"at\":5}", "", &line])).expect("open"));
        assert_eq!(good.len(), 2);
        assert!(bad.len() == 1 && bad[0].contains("line 3: not a signal"), "{bad:?}");
    }

    #[test]
    fn a_line_cut_off_is_an_error_with_its_number() {
        let line = serde_json::to_string(&signal(1, "text")).expect("json");
        let (good, bad) = split(open(&plain(&[&line, &line[..line.len() / 2]])).expect("open"));
        assert_eq!(good.len(), 1);
        assert!(bad[0].contains("line 3"), "{bad:?}");
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let line = serde_json::to_string(&signal(1, "text")).expect("json");
        let (good, bad) = split(open(&plain(&[&"x".repeat(LINE_LIMIT + 1), &line])).expect("open"));
        assert_eq!(good.len(), 1);
        assert!(bad.len() == 1 && bad[0].contains("line 2: longer than"), "{bad:?}");
    }

    #[test]
    fn another_version_is_refused_with_both_numbers() {
        let error = open(b"{\"nodewhy_recording\":7,\"agent\":\"3.0.0\"}\n").err().expect("refused");
        assert!(matches!(&error, RecordingError::Version { found: 7, expected: VERSION, .. }));
        assert!(error.to_string().contains("agent 3.0.0"), "{error}");
    }

    #[test]
    fn what_is_no_recording_is_told() {
        for rubbish in [&b""[..], b"\n\n", b"hello", b"{}", &[0xff; 64], &ZSTD_MAGIC, b"\x28\xb5\x2f\xfd rubbish", b"\x28"] {
            assert!(matches!(open(rubbish), Err(RecordingError::NotARecording { .. })), "{rubbish:?}");
        }
        assert!(matches!(Recording::open(Path::new("/nowhere")), Err(RecordingError::Open { .. })));
    }

    #[test]
    fn an_existing_file_is_not_overwritten() {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path().join("a.nodewhy");
        drop(Recorder::create(&path, "0.1.0").expect("create"));
        assert!(matches!(Recorder::create(&path, "0.1.0"), Err(RecordingError::Create { .. })));
        assert_eq!(Recording::open(&path).expect("open").count(), 0);
    }

    proptest! {
        #[test]
        fn damage_never_panics_and_always_ends(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
            let signals: Vec<Signal> = (0..40).map(|second| signal(second, &"text ".repeat(second as usize))).collect();
            let mut bytes = recorded(&signals);
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            if let Ok(recording) = open(&bytes) {
                prop_assert!(recording.take(100_000).count() < 100_000);
            }
        }
    }
}

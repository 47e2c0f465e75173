use super::*;
use serde_json::Value;

fn parse_with(input: &[u8], format: Format, style: Style) -> (String, Summary) {
    let mut out = Vec::new();
    let summary = run(input, "test", format, style, &mut out).expect("memory can be read");
    (String::from_utf8(out).expect("UTF-8"), summary)
}

fn parse(input: &str) -> Vec<Value> {
    let (out, _) = parse_with(input.as_bytes(), Format::Auto, Style::default());
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn one_object_for_each_event_in_the_order_of_the_log() {
    let found = parse(concat!(
        "[  100.000000] rcu: INFO: rcu_sched self-detected stall on CPU\n",
        "[  100.000100] EXT4-fs (vdb7): Remounting filesystem read-only\n",
        "[  100.000200] rcu: \t3-....: (14837 ticks this GP) idle=1\n",
        "[  100.000300] CPU: 3 PID: 77 Comm: shop Not tainted 6.1.0 #1\n",
    ));
    assert_eq!(found.iter().map(|object| object["type"].as_str()).collect::<Vec<_>>(), [Some("hang"), Some("fs")]);
    assert_eq!((found[0]["comm"].as_str(), found[0]["line"].as_u64()), (Some("shop"), Some(1)));
}

#[test]
fn colours_are_taken_off_however_they_were_saved() {
    for line in [
        "\u{1b}[32m[ 1.000000] \u{1b}[0;33mx[1]\u{1b}[0m\u{1b}[K",
        "^[[32m[ 1.000000] ^[[0mx[1]^[[0m",
        "[32m[ 1.000000] [0;33mx[1][0m",
        "[ 1.000000] x[1]",
    ] {
        assert_eq!(tidy(line), "[ 1.000000] x[1]", "{line:?}");
    }
}

#[test]
fn a_hung_task_is_told_once_with_its_last_time() {
    let found = parse(
        "[ 1.000000] INFO: task shop:77 blocked for more than 120 seconds.\n[ 2.000000] INFO: task shop:77 blocked for more than 241 seconds.\n",
    );
    assert_eq!(found.len(), 1);
    assert_eq!((found[0]["seconds"].as_u64(), found[0]["repeated"].as_u64()), (Some(241), Some(1)));
}

#[test]
fn the_layers_of_one_disk_error_are_one_event() {
    let found = parse(concat!(
        "sd 2:0:0:0: [sdc] tag#3 Sense Key : Medium Error [current]\n",
        "blk_update_request: I/O error, dev sdc, sector 2048\n",
        "Buffer I/O error on dev sdc1, logical block 0, async page read\n",
    ));
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0]["kind"].as_str(), found[0]["device"].as_str(), found[0]["sector"].as_u64()),
        (Some("medium_error"), Some("sdc"), Some(2048))
    );
}

#[test]
fn programs_and_processes_do_not_speak_for_the_kernel() {
    let (out, summary) = parse_with(
        b"Nov 23 20:26:56 n shop[5]: EXT4-fs (vdb7): Remounting filesystem read-only\n12,5,9,-;EXT4-fs (vdb7): Remounting filesystem read-only\n",
        Format::Auto,
        Style::default(),
    );
    assert_eq!((out.as_str(), summary.forged_lines), ("", 1));
}

#[test]
fn wrapped_quoted_and_escaped_lines() {
    assert_eq!(parse("> [ 1.000000] INFO: task shop:77 blocked for more than\n> 120 seconds.\n")[0]["seconds"], 120);
    assert_eq!(parse("Nov 23 20:26:56 n kernel: a#012EXT4-fs (vdb7): Remounting filesystem read-only")[0]["kind"], "remount_ro");
    assert_eq!(
        parse("\u{1b}[32m[    1.000000] \u{1b}[0m\u{1b}[33mEXT4-fs (vdb7)\u{1b}[0m: Remounting filesystem read-only")[0]["kind"],
        "remount_ro"
    );
}

#[test]
fn notices_are_printed_on_demand() {
    let log = b"[ 1.000000] TCP: out of memory -- consider tuning tcp_mem\n[ 2.000000] x: 7 callbacks suppressed\n";
    let (out, summary) = parse_with(log, Format::Auto, Style::default());
    assert_eq!((out.as_str(), summary.lost_records), ("", 7));
    assert!(summary.is_odd());
    assert_eq!(parse_with(log, Format::Auto, Style { notices: true, human: false }).0.lines().count(), 2);
}

#[test]
fn sentences() {
    let (out, _) =
        parse_with(b"shop[77]: segfault at 18 ip 1 sp 2 error 6 in shop[1+2]", Format::Auto, Style { human: true, notices: false });
    assert_eq!(out, "line 1: shop (pid 77) crashed with a segmentation fault writing address 0x18 in shop\n");
}

/// A file whose disk fails in the middle.
struct Failing<'a>(&'a [u8]);

impl io::Read for Failing<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("bad sector"))
    }
}

impl BufRead for Failing<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.is_empty() { Err(io::Error::other("bad sector")) } else { Ok(self.0) }
    }

    fn consume(&mut self, amount: usize) {
        self.0 = &self.0[amount..];
    }
}

#[test]
fn the_readable_part_is_printed_before_the_error() {
    let mut out = Vec::new();
    let log = Failing(b"EXT4-fs (vdb7): Remounting filesystem read-only\n");
    let error = run(log, "kern.log", Format::Auto, Style::default(), &mut out).expect_err("the disk fails");
    assert_eq!(
        error.to_string(),
        "cannot read kern.log beyond line 1: bad sector; what came before it is printed, save the log again to see the rest"
    );
    assert!(String::from_utf8(out).expect("UTF-8").contains("remount_ro"));
}

/// A pipe that nobody reads.
struct Closed(io::ErrorKind);

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let log = "EXT4-fs (vdb7): Remounting filesystem read-only";
    let summary = run(log.as_bytes(), "x", Format::Auto, Style::default(), &mut Closed(io::ErrorKind::BrokenPipe));
    assert!(summary.expect("no error").reader_gone);
    let full = run(log.as_bytes(), "x", Format::Auto, Style::default(), &mut Closed(io::ErrorKind::StorageFull));
    assert!(matches!(full, Err(ParseError::Write { .. })));
}

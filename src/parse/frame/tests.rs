use super::*;
use proptest::prelude::*;

fn auto_frame(line: &str) -> Frame<'_> {
    frame(line, Format::Auto)
}

#[test]
fn the_kernel_behind_every_kind_of_prefix() {
    const TEXT: &str = "EXT4-fs (vdb7): Remounting filesystem read-only";
    for prefix in [
        "[ 3750.315370] ",
        "[3750.315370] ",
        "[ 3750,315370] ",
        "[ 3750.315370 <    0.000012>] ",
        "[  +0.000012] ",
        "[Nov23 20:26] ",
        "[ 3750.315370][    T123] ",
        "[ 3750.315370] [   C0] ",
        "[xxxx.xxxxxx] ",
        "[Mon Nov 23 20:26:56 2026] ",
        "[lun. 23 nov. 20:26:56 2026] ",
        "[mercredi 23 décembre 20:26:56 2026] ",
        "[一 11月 23 20:26:56 2026] ",
        "[Mon Nov 23 20:26:56 2026 <    0.000012>] ",
        "kern  :err   : [ 3750.315370] ",
        "kern  :err   : 2026-11-23T20:26:56,283302+00:00 ",
        "2026-11-23T20:26:56,283302+01:00 ",
        "kern:     err: [2026-11-23T20:26:56.283302123Z]: ",
        "10.0.0.7: kern:     err: [2026-11-23T20:26:56.283302123Z]: ",
        "3,17,3750315370,-;",
        "3,17,3750315370,-,caller=T12;",
        "<3>[ 3750.315370] ",
        "<3>Nov 23 20:26:56 node-a kernel: [ 3750.315370] ",
        "<3>1 2026-11-23T20:26:56.123456+00:00 node-a kernel - - - ",
        "<3>1 2026-11-23T20:26:56.123456+00:00 node-a kernel - - - [ 3750.315370] ",
        "Nov 23 20:26:56 node-a kernel: ",
        "Nov 23 20:26:56 node-a kernel: [ 3750.315370] ",
        "Nov 23 20:26:56.283302 node-a kernel: ",
        "Nov 23 20:26:56 kernel: ",
        "Nov 23 20:26:56 ** kernel: ",
        "Nov 23 20:26:56 <my host> kernel: ",
        "Nov 23 20:26:56 node-a kernel:[ 3750.315370] ",
        "Nov 23 20:26:56 node-a kernel[0]: ",
        "11月 23 20:26:56 node-a kernel: ",
        "nov. 23 20:26:56 node-a kernel: ",
        "2026-11-23T20:26:56+0100 node-a kernel: ",
        "2026-11-23T20:26:56.123456+01:00 node-a kernel: [ 3750.315370] ",
        "2026-11-23 20:26:56.123 node-a kernel: ",
        "Mon 2026-11-23 20:26:56 CET node-a kernel: ",
        "Mon Nov 23 20:26:56 2026 kern.err kernel: [ 3750.315370] ",
        "[ 3750.315370] node-a kernel: ",
        "   12 Nov 23 20:26:56 node-a kernel: ",
        "node-a kernel: ",
        "kernel: ",
        " kernel:[ 3750.315370] ",
        "/var/log/kern.log:Nov 23 20:26:56 node-a kernel: ",
        "Nov 23 20:26:56 ",
        "> [ 3750.315370] ",
        "node-a login: [ 3750.315370] ",
        "12:[ 3750.315370] ",
    ] {
        let line = format!("{prefix}{TEXT}");
        let frame = auto_frame(&line);
        assert_eq!(frame.text, TEXT, "{line}");
        assert_eq!(frame.origin, Origin::Kernel, "{line}");
        assert!(frame.may_be_kernel() && frame.framed, "{line}");
    }
}

#[test]
fn programs_sign_their_lines() {
    for (line, name, pid, text) in [
        ("Nov 23 20:26:56 node-a kubelet[688]: Out of memory", "kubelet", Some(688), "Out of memory"),
        ("Nov 23 20:26:56 node-a kubelet[688]: \tindented", "kubelet", Some(688), "\tindented"),
        ("Nov 23 20:26:56 node-a kubelet[688]:  > end", "kubelet", Some(688), " > end"),
        ("Nov 23 20:26:56 node-a kubelet: I1123 20:26:56.1 x", "kubelet", None, "I1123 20:26:56.1 x"),
        ("11月 23 20:26:56 office k3s[794]: x", "k3s", Some(794), "x"),
        ("2026-11-23T20:26:56Z node-a app[1]: Killed process 3 (x)", "app", Some(1), "Killed process 3 (x)"),
        ("Mon 2026-11-23 20:26:56 CET node-a kubelet.service[688]: x", "kubelet", Some(688), "x"),
        ("Mon Nov 23 20:26:56 2026 daemon.info dnsmasq[2]: x", "dnsmasq", Some(2), "x"),
        ("[ 3750.315370] node-a kubelet[688]: x", "kubelet", Some(688), "x"),
        ("[    3.315370] systemd[1]: Started x.", "systemd", Some(1), "Started x."),
        ("earlyoom[45]: mem avail: 1", "earlyoom", Some(45), "mem avail: 1"),
        ("<30>1 2026-11-23T20:26:56Z node-a kubelet 688 - - x", "kubelet", Some(688), "x"),
        ("<30>1 2026-11-23T20:26:56Z node-a kubelet 688 - [a@1 b=\"c\"] x", "kubelet", Some(688), "x"),
        ("Nov 23 20:26:56 node-a dmesg[9]: [ 12.300000] Out of memory", "dmesg", Some(9), "[ 12.300000] Out of memory"),
        (r#"{"MESSAGE":"x","_TRANSPORT":"stdout","SYSLOG_IDENTIFIER":"kubelet","_PID":"688"}"#, "kubelet", Some(688), "x"),
        (r#"{"MESSAGE":"Out of memory","_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"kernel"}"#, "kernel", None, "Out of memory"),
    ] {
        let frame = auto_frame(line);
        assert_eq!(frame.origin, Origin::Program { name: name.into(), pid: pid.map(Pid) }, "{line}");
        assert_eq!(frame.text, text, "{line}");
        assert!(!frame.may_be_kernel());
    }
}

#[test]
fn the_kernel_also_signs_with_a_process() {
    for line in [
        "shop[12]: segfault at 0 ip 0 sp 0 error 4",
        "[ 12.300000] shop[12]: segfault at 0 ip 0 sp 0 error 4",
        "[ 12.300000] my shop[12]: segfault at 0 ip 0 sp 0 error 4",
        "Nov 23 20:26:56 node-a kernel: [ 12.300000] shop[12]: segfault at 0 ip 0 sp 0 error 4",
        "Nov 23 20:26:56 node-a kernel: shop[12]: segfault at 0 ip 0 sp 0 error 4",
    ] {
        let frame = auto_frame(line);
        assert!(frame.may_be_kernel(), "{line}");
        assert!(frame.text.ends_with("shop[12]: segfault at 0 ip 0 sp 0 error 4"), "{line}: {}", frame.text);
    }
}

#[test]
fn lines_that_nobody_signed() {
    for line in [
        "I1123 20:26:56.123456     688 kubelet.go:1] x",
        "[  17243]     0 17243    12365 python3",
        "[  pid  ]   uid  tgid",
        "memory: usage 1kB",
        "",
    ] {
        let frame = auto_frame(line);
        assert_eq!((frame.origin, frame.text.as_ref(), frame.framed), (Origin::Unknown, line.trim(), false), "{line}");
    }
}

#[test]
fn a_process_that_writes_into_the_kernel_log_is_not_the_kernel() {
    for line in
        ["12,5,9,-;Out of memory: Killed process 4 (x)", "<14>[ 1.000000] Out of memory", "user  :warn  : [ 1.000000] Out of memory"]
    {
        assert!(!auto_frame(line).may_be_kernel(), "{line}");
    }
}

#[test]
fn a_program_s_log_without_a_signature_is_not_the_kernel() {
    for line in [
        "I1123 20:26:56.123456     688 x.go:1] Out of memory",
        "time=\"2026\" level=error msg=\"Out of memory\"",
        "{\"msg\":\"Out of memory\"}",
        "[2026-11-23T20:26:56.123456789Z][kubelet][I] I1123 20:26:56.123456     688 x.go:1] Out of memory",
        "7m Warning OOMKilling node/n Out of memory: Killed process 7 (x)",
    ] {
        let frame = auto_frame(line);
        assert!(!frame.may_be_kernel() && !frame.is_forged(), "{line}");
    }
}

#[test]
fn entries_of_the_journal_as_json() {
    let kernel = auto_frame(r#"{"__REALTIME_TIMESTAMP":"1795465616000000","MESSAGE":"a","_TRANSPORT":"kernel","PRIORITY":"3"}"#);
    assert_eq!((kernel.origin, kernel.level, kernel.text.as_ref()), (Origin::Kernel, Some(3), "a"));
    assert_eq!(auto_frame(r#"{"MESSAGE":[104,105,255],"_TRANSPORT":"kernel"}"#).text, "hi\u{fffd}");
    assert_eq!(auto_frame(r#"{"ts":1,"msg":"Probe failed"}"#).origin, Origin::Unknown);
}

#[test]
fn entries_of_collectors() {
    for line in [
        r#"{"ident":"kernel","message":"[ 1.000000] x","host":"n"}"#,
        r#"{"log":"[ 1.000000] x\n","stream":"stdout","time":"2026-11-23T20:26:56Z"}"#,
        r#"{"jsonPayload":{"MESSAGE":"x","SYSLOG_IDENTIFIER":"kernel"},"resource":{"type":"k8s_node"}}"#,
        r#"{"transport":"kernel","syslog_identifier":"kernel","message":"x"}"#,
        r#"{"message":"Nov 23 20:26:56 n kernel: x"}"#,
        r#"{"priority":6,"sequence":9,"sec":1,"usec":0,"msg":"x"}"#,
    ] {
        let frame = auto_frame(line);
        assert_eq!((frame.origin, frame.text.as_ref()), (Origin::Kernel, "x"), "{line}");
    }
    let kubelet = auto_frame(r#"{"ident":"kubelet","pid":"7","message":"x"}"#);
    assert_eq!((kubelet.program_name(), kubelet.text.as_ref()), (Some("kubelet"), "x"));
}

#[test]
fn a_stamp_in_front_of_a_whole_line() {
    for line in [
        "2026-11-23T20:26:56.1234567Z [ 1.000000] x",
        "2026-11-23T20:26:56.1234567Z stdout F Nov 23 20:26:56 n kernel: x",
        "[2026-11-23 20:26:56] [Mon Nov 23 20:26:56 2026] x",
        "11-23 20:26:56.789 <4>[ 1.000000] x",
        "Nov 23 20:26:56 n kernel: <4>[ 1.000000] x",
        "Nov 23, 2026 @ 20:26:56.000 n kernel: x",
        "2026-11-23T20:26:56.127Z In(05) vcpu-5 - Guest: <6>[ 1.000000] x",
        "2026-11-23T20:26:56.127Z| vcpu-0| I125: Guest: <6>[ 1.000000] x",
        "n: kern: warning: [2026-11-23T20:26:56.123456789Z]: x",
        "[ 1.000000@3] x",
        "00.000001] x",
        "[11月23 20:26] x",
        " kernel:x",
    ] {
        let frame = auto_frame(line);
        assert_eq!((frame.origin, frame.text.as_ref()), (Origin::Kernel, "x"), "{line}");
    }
    // A figure's name is no program's.
    let figures = auto_frame("2026-11-23T20:26:56.1234567Z [1.000000] memory: usage 4kB");
    assert_eq!((figures.origin, figures.text.as_ref()), (Origin::Kernel, "memory: usage 4kB"));
    let talos = auto_frame("user: warning: [2026-11-23T20:26:56.1Z]: [talos] x");
    assert_eq!((talos.program_name(), talos.text.as_ref(), talos.is_forged()), (Some("talos"), "x", false));
}

#[test]
fn a_named_format_is_believed() {
    assert_eq!(frame("Remounting filesystem read-only", Format::Dmesg).origin, Origin::Kernel);
    assert_eq!(frame("[ 1.000000] x", Format::Journal).origin, Origin::Unknown);
    assert_eq!(frame("6,1,2,-;x", Format::Kmsg).text, "x");
    assert_eq!(frame("<6>Nov 23 20:26:56 n kernel: x", Format::Syslog).text, "x");
}

#[test]
fn boot_time_is_kept_in_microseconds() {
    assert_eq!(auto_frame("[ 3750.315370] x").time, Some(Stamp::Boot(BootTime(3_750_315_370))));
    assert_eq!(auto_frame("[ 3750,3] x").time, Some(Stamp::Boot(BootTime(3_750_300_000))));
    assert_eq!(auto_frame("Nov 23 20:26:56 n kernel: x").time, Some(Stamp::Wall("Nov 23 20:26:56".into())));
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in any::<String>(), clock in "[0-9: ,.TZ+\\[\\]<>kernel:a-z]{0,80}") {
        for format in [Format::Auto, Format::Kmsg, Format::Dmesg, Format::Journal, Format::Syslog] {
            let _ = frame(&line, format);
            let _ = frame(&clock, format);
        }
    }
}

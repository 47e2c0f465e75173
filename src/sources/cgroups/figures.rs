//! The words of cgroup files and of `/proc`'s node-wide files, as numbers.
//!
//! Flows in: the bytes of one file. Flows out: a figure, or `None` where the file does not hold it.
//! Knows no path and does no I/O. Keys that are not known here are passed over: every kernel adds some.

use crate::{
    model::{Bytes, Limit},
    signal::{CpuThrottling, MemoryEvents, MemorySplit, Pressure},
};

/// A file of one number.
pub fn number(content: &[u8]) -> Option<u64> {
    std::str::from_utf8(content.trim_ascii()).ok()?.parse().ok()
}

/// A file of one amount.
pub fn bytes(content: &[u8]) -> Option<Bytes> {
    number(content).map(Bytes)
}

/// A file of `0` or `1`.
pub fn flag(content: &[u8]) -> Option<bool> {
    number(content).map(|value| value != 0)
}

/// v2 `memory.max`: a number or `max`.
pub fn limit(content: &[u8]) -> Option<Limit> {
    if content.trim_ascii() == b"max" { Some(Limit::Unlimited) } else { bytes(content).map(Limit::Bytes) }
}

/// v1 `memory.limit_in_bytes`, where a huge number means no limit.
pub fn limit_v1(content: &[u8]) -> Option<Limit> {
    number(content).map(Limit::from_v1)
}

/// The lines `<key> <number>` of `memory.stat`, `memory.events`, `cpu.stat`, `/proc/vmstat`; also
/// `<key>: <number> kB` of `/proc/meminfo`, whose unit is left to the caller.
pub fn keyed(content: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    content.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let key = words.next()?;
        Some((key.strip_suffix(b":").unwrap_or(key), number(words.next()?)?))
    })
}

/// The number behind one key.
pub fn value(content: &[u8], key: &str) -> Option<u64> {
    keyed(content).find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

/// v2 `memory.events` and `memory.events.local`, and v1 `memory.oom_control`, whose `oom_kill`
/// (kernel 4.13, mm/memcontrol.c) is spelled alike and which has none of the others.
pub fn memory_events(content: &[u8]) -> Option<MemoryEvents> {
    let mut events = MemoryEvents::default();
    for (key, count) in keyed(content) {
        match key {
            b"max" => events.max = Some(count),
            b"oom" => events.oom = Some(count),
            b"oom_kill" => events.oom_kill = Some(count),
            b"oom_group_kill" => events.oom_group_kill = Some(count),
            _ => {}
        }
    }
    (events != MemoryEvents::default()).then_some(events)
}

/// v2 `memory.stat` (Documentation/admin-guide/cgroup-v2.rst).
pub fn split(content: &[u8]) -> Option<MemorySplit> {
    let mut split = MemorySplit::default();
    for (key, amount) in keyed(content) {
        let amount = Some(Bytes(amount));
        match key {
            b"anon" => split.anon = amount,
            b"file" => split.file = amount,
            b"shmem" => split.shmem = amount,
            b"kernel" => split.kernel = amount,
            b"slab" => split.slab = amount,
            b"inactive_file" => split.inactive_file = amount,
            _ => {}
        }
    }
    (split != MemorySplit::default()).then_some(split)
}

/// v1 `memory.stat`, its hierarchical half (Documentation/admin-guide/cgroup-v1/memory.rst). Kernel
/// memory has a file of its own there.
pub fn split_v1(content: &[u8]) -> Option<MemorySplit> {
    let mut split = MemorySplit::default();
    for (key, amount) in keyed(content) {
        let amount = Some(Bytes(amount));
        match key {
            b"total_rss" => split.anon = amount,
            b"total_cache" => split.file = amount,
            b"total_shmem" => split.shmem = amount,
            b"total_inactive_file" => split.inactive_file = amount,
            _ => {}
        }
    }
    (split != MemorySplit::default()).then_some(split)
}

/// `cpu.stat`. v2 counts in microseconds (`throttled_usec`), v1 in nanoseconds (`throttled_time`).
/// Without a controller v2 still has the file, with none of these keys.
pub fn throttling(content: &[u8]) -> Option<CpuThrottling> {
    let micros = value(content, "throttled_usec").or_else(|| value(content, "throttled_time").map(|nanos| nanos / 1000));
    Some(CpuThrottling {
        periods: value(content, "nr_periods")?,
        throttled_periods: value(content, "nr_throttled")?,
        throttled_us: micros?,
    })
}

/// A pressure file (Documentation/accounting/psi.rst). `full` is missing for the node's CPU before
/// kernel 5.13.
pub fn pressure(content: &[u8]) -> Option<Pressure> {
    let line = |kind: &str| content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(kind.as_bytes()));
    let some = line("some ")?;
    Some(Pressure {
        some_avg10: std::str::from_utf8(assigned(some, "avg10")?).ok()?.parse().ok().filter(|share: &f64| share.is_finite())?,
        some_total_us: number(assigned(some, "total")?)?,
        full_total_us: line("full ").and_then(|full| assigned(full, "total")).and_then(number),
    })
}

/// The value of `key=value` in a line of such words.
fn assigned<'a>(line: &'a [u8], key: &str) -> Option<&'a [u8]> {
    line.split(|byte| *byte == b' ').find_map(|word| word.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn single_values() {
        assert_eq!(number(b"4096\n"), Some(4096));
        assert_eq!(number(b""), None);
        assert_eq!(number(b"18446744073709551616\n"), None);
        assert_eq!(limit(b"max\n"), Some(Limit::Unlimited));
        assert_eq!(limit(b"33554432\n"), Some(Limit::Bytes(Bytes(32 << 20))));
        assert_eq!(limit_v1(b"9223372036854771712\n"), Some(Limit::Unlimited));
        assert_eq!(flag(b"1\n"), Some(true));
    }

    #[test]
    fn events_of_both_versions() {
        let v2 = memory_events(b"low 0\nhigh 3\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\nsock_throttled 9\n").expect("v2");
        assert_eq!(v2, MemoryEvents { max: Some(41), oom: Some(2), oom_kill: Some(1), oom_group_kill: Some(0) });
        let v1 = memory_events(b"oom_kill_disable 0\nunder_oom 0\noom_kill 7\n").expect("v1");
        assert_eq!(v1, MemoryEvents { oom_kill: Some(7), ..MemoryEvents::default() });
        assert_eq!(memory_events(b"oom_kill_disable 0\nunder_oom 0\n"), None, "before kernel 4.13");
    }

    #[test]
    fn splits_of_both_versions() {
        let v2 = split(b"anon 100\nfile 50\nkernel 20\nkernel_stack 8\nshmem 5\ninactive_file 30\nslab 12\nsome_new_key 1\n").expect("v2");
        assert_eq!((v2.anon, v2.kernel, v2.slab, v2.inactive_file), (Some(Bytes(100)), Some(Bytes(20)), Some(Bytes(12)), Some(Bytes(30))));
        let v1 = split_v1(b"cache 1\nrss 2\ntotal_cache 10\ntotal_rss 20\ntotal_shmem 3\ntotal_inactive_file 4\n").expect("v1");
        assert_eq!((v1.anon, v1.file, v1.shmem, v1.kernel), (Some(Bytes(20)), Some(Bytes(10)), Some(Bytes(3)), None));
    }

    #[test]
    fn throttling_has_one_unit() {
        let expected = Some(CpuThrottling { periods: 10, throttled_periods: 4, throttled_us: 2500 });
        assert_eq!(throttling(b"usage_usec 1\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2500\n"), expected);
        assert_eq!(throttling(b"nr_periods 10\nnr_throttled 4\nthrottled_time 2500999\n"), expected);
        assert_eq!(throttling(b"usage_usec 1\nuser_usec 1\n"), None);
    }

    #[test]
    fn pressure_with_and_without_full() {
        let both = pressure(b"some avg10=1.25 avg60=0.10 avg300=0.00 total=777\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=55\n");
        assert_eq!(both, Some(Pressure { some_avg10: 1.25, some_total_us: 777, full_total_us: Some(55) }));
        let one = pressure(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n").expect("some");
        assert_eq!(one.full_total_us, None);
        assert_eq!(pressure(b"some avg10=x total=1\n"), None);
    }

    #[test]
    fn meminfo_is_keyed_too() {
        assert_eq!(value(b"MemTotal:       1000 kB\nMemAvailable:    250 kB\n", "MemAvailable"), Some(250));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (number(&content), limit(&content), memory_events(&content), split(&content), split_v1(&content));
            let _ = (throttling(&content), pressure(&content), keyed(&content).count());
        }

        #[test]
        fn a_key_is_found_among_any_others(before in "[a-z_]{1,12} [0-9]{1,9}\n", count: u64) {
            let content = format!("{before}THE_key {count}\nlast 1\n");
            prop_assert_eq!(value(content.as_bytes(), "THE_key"), Some(count));
        }
    }
}

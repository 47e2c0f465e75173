//! Kills that join an end by its pod, and kills that are read when the end has been told.

use super::*;

#[test]
fn a_dump_that_is_read_long_after_it_was_written_is_one_dump() {
    let mut bench = Bench::new();
    bench.processes(2.0, &path("a"), &[(17, 1, "app")]);
    bench.lag = 40.0;
    bench.dump(3.0, &path("a"), &path("a"), "app", 17);
    bench.ticks(50, 70);
    assert_eq!((bench.only().cause, bench.only().attribution), (Cause::OomContainerLimit, Attribution::Kernel));
}

//! A record of `/dev/kmsg` or a line of `syslog(2)`, whatever its bytes, neither panics nor makes
//! the recogniser of kernel problems panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodewhy::parse::{kernel_problem::recognise, kmsg};

fuzz_target!(|bytes: &[u8]| {
    for record in [kmsg::decode(bytes), kmsg::decode_syslog(bytes)].into_iter().flatten() {
        let _ = recognise(&record.text);
        let _ = record.dictionary.device();
    }
});

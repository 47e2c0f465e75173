//! Takes out of raw lines of the kubelet's log what nobody should read, for those who keep the lines themselves.
//!
//! Flows in: lines of one log in order. Flows out: the same lines, which tell the parser the same, without the dumps of
//! container specifications that kubelets before 1.34 print with all values of the environment, and without credentials.

use super::excerpt::{LEFT_OUT, behind_dump, without_credentials, without_dump};
use crate::parse::klog::{Form, KlogRecord};

/// What the inside of a dump looks like in a line of its own: journald cuts a line at 48 KiB and goes on in another entry.
const INSIDE_OF_DUMP: [&str; 2] = ["EnvVar{Name:", ",ValueFrom:"];

/// The redactor of a log.
#[derive(Debug, Default)]
pub struct Redactor {
    /// The stream whose last line ended inside of a dump.
    in_dump: Option<String>,
}

impl Redactor {
    /// The line without secrets; `stream` says which lines follow each other.
    pub fn line(&mut self, stream: &str, line: &str) -> String {
        let goes_on = self.in_dump.as_deref() == Some(stream) && !begins_record(line);
        let rest_of_dump = goes_on || INSIDE_OF_DUMP.iter().any(|words| line.contains(words));
        let (mut kept, mut open) = match without_dump(line) {
            Some(kept) => kept,
            None if rest_of_dump => rest(line),
            None => (line.to_owned(), false),
        };
        while let Some((shorter, goes_on)) = without_dump(&kept) {
            (kept, open) = (shorter, goes_on);
        }
        if open {
            self.in_dump = Some(stream.to_owned());
        } else if self.in_dump.as_deref() == Some(stream) {
            self.in_dump = None;
        }
        without_credentials(&kept)
    }
}

fn begins_record(line: &str) -> bool {
    KlogRecord::parse(line).form != Form::Raw
}

/// What may be kept of a line that begins inside of a dump: a block's mark, and what stands behind the dump.
fn rest(line: &str) -> (String, bool) {
    let mark = if line.starts_with('\t') { "\t" } else { "" };
    let after = behind_dump(line);
    (format!("{mark}{LEFT_OUT}{}", after.unwrap_or("")), after.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::kubelet::KubeletReader;
    use proptest::prelude::*;

    const DUMP: &str = r#"E0307 04:05:06.1 1 a.go:1] "Unhandled Error" err="container &Container{Name:app,Image:x,Env:[]EnvVar{EnvVar{Name:KEY,Value:hunter2,ValueFrom:nil,},},} start failed in pod web_ns(7145627f-44a7-433c-a896-a8c81a4df533): CreateContainerConfigError: secret \"db\" not found" logger="UnhandledError""#;

    fn told(lines: &[String]) -> Vec<crate::parse::kubelet::Observation> {
        let mut reader = KubeletReader::default();
        let mut told: Vec<_> = lines.iter().flat_map(|line| reader.push(Some("kubelet"), line)).collect();
        told.extend(reader.flush());
        told
    }

    #[test]
    fn values_of_the_environment_are_left_out_and_the_line_tells_the_same() {
        let plain = "E0307 04:05:06.1 1 a.go:1] container &Container{Name:app,Env:[]EnvVar{EnvVar{Name:KEY,Value:hunter2,ValueFrom:nil,},},} start failed in pod web_ns(7145627f-44a7-433c-a896-a8c81a4df533): ErrImagePull: x";
        let json = r#"{"ts":1716000000123.4,"caller":"a.go:1","msg":"Unhandled Error","err":"container &Container{Name:app,Env:[]EnvVar{EnvVar{Name:KEY,Value:hunter2,ValueFrom:nil,},},} start failed in pod web_ns(7145627f-44a7-433c-a896-a8c81a4df533): CreateContainerConfigError: secret not found"}"#;
        for line in [DUMP, plain, json] {
            let kept = Redactor::default().line("a", line);
            assert!(!kept.contains("hunter2") && kept.contains("start failed in pod"), "{kept}");
            let (before, after) = (told(&[line.to_owned()]), told(&[kept]));
            assert!(!before.is_empty(), "{line}");
            assert_eq!(before, after);
        }
    }

    #[test]
    fn a_dump_over_several_lines_is_left_out_to_its_end() {
        let lines = [
            "E0307 04:05:06.1 1 a.go:1] container &Container{Name:app,Env:[]EnvVar{EnvVar{Name:KEY,Value:-----BEGIN",
            "\tsecret line",
            "hunter2,ValueFrom:nil,},},} start failed in pod web_ns(u): ErrImagePull: x",
            "I0307 04:05:07.1 1 a.go:1] \"Probe failed\" output=\"x\"",
        ];
        let mut redactor = Redactor::default();
        let kept = lines.map(|line| redactor.line("a", line));
        assert_eq!(kept[0], "E0307 04:05:06.1 1 a.go:1] container app");
        assert_eq!((kept[1].as_str(), kept[2].as_str()), ("\t…", "… start failed in pod web_ns(u): ErrImagePull: x"));
        assert_eq!(kept[3], lines[3]);
        let mut redactor = Redactor::default();
        redactor.line("a", lines[0]);
        assert_eq!(redactor.line("b", "said by another"), "said by another");
        assert_eq!(redactor.line("a", lines[3]), lines[3], "a dump that is cut off ends with the next record");
        assert_eq!(redactor.line("a", "said later"), "said later");
    }

    #[test]
    fn the_rest_of_a_line_that_journald_cut_is_left_out() {
        let mut redactor = Redactor::default();
        assert_eq!(
            redactor.line("a", "ter2,ValueFrom:nil,},EnvVar{Name:B,Value:x,ValueFrom:nil,},},} start failed in pod w_n(u): E: x"),
            "… start failed in pod w_n(u): E: x"
        );
        assert_eq!(
            redactor.line("a", "I0307 04:05:07.1 1 a.go:1] pulled https://me:pw@registry/x"),
            "I0307 04:05:07.1 1 a.go:1] pulled https://…@registry/x"
        );
    }

    proptest! {
        #[test]
        fn any_lines_are_survived(lines in proptest::collection::vec("(\t|E0307 04:05:06.1 1 a.go:1\\] )?(&Container\\{|EnvVar\\{Name:|\\} start failed in pod|[ -~é]){0,20}", 0..10)) {
            let mut redactor = Redactor::default();
            for line in &lines {
                let once = redactor.line("a", line);
                let dump = "&Container{";
                prop_assert!(!once.contains(dump), "{}", once);
            }
        }
    }
}

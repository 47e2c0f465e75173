//! Durations as Go prints them: `5m0s`, `3m57.138893648s`, `500ms`.

use std::time::Duration;

/// Reads the duration that a text begins with; `None` when it begins with something else.
pub fn leading(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while let Some((seconds, behind)) = part(rest) {
        total += seconds;
        rest = behind;
    }
    (rest.len() < text.len()).then(|| Duration::try_from_secs_f64(total).ok())?
}

/// One number with its unit, in seconds.
fn part(text: &str) -> Option<(f64, &str)> {
    const UNITS: [(&str, f64); 7] = [("ms", 1e-3), ("µs", 1e-6), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let length = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, rest) = text.split_at_checked(length)?;
    let (unit, seconds) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
    Some((number.parse::<f64>().ok()? * seconds, rest.get(unit.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_go_prints() {
        let secs = |text| leading(text).map(|duration| duration.as_secs_f64());
        assert_eq!(secs("5m0s restarting"), Some(300.0));
        assert_eq!(secs("2h3m1.5s"), Some(7381.5));
        assert_eq!(secs("500ms)"), Some(0.5));
        for wrong in ["", "s", "x5m", "12", "1.2.3s"] {
            assert_eq!(leading(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[0-9.hmsµn]{0,60}") {
            let _ = leading(&text);
        }
    }
}

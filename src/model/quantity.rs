//! Kubernetes' way to write amounts: `128Mi`, `1.5G`, `500m`, `1e9`.

use super::Bytes;

/// Suffixes and their factors (apimachinery, pkg/api/resource/suffix.go).
const SUFFIXES: [(&str, f64); 13] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("m", 1e-3),
];

/// An amount of memory, rounded up to whole bytes; `None` if it is not one.
pub fn bytes(text: &str) -> Option<Bytes> {
    let suffix = SUFFIXES.iter().find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)));
    let (number, factor) = suffix.unwrap_or((text, 1.0));
    let amount = (number.parse::<f64>().ok()? * factor).ceil();
    let whole = amount.is_finite() && (0.0..9.2e18).contains(&amount);
    // Integers above 2^53 are rounded by a few bytes: no limit is that exact.
    whole.then(|| Bytes(format!("{amount:.0}").parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_every_notation() {
        for (text, expected) in [
            ("128Mi", Some(128 << 20)),
            ("1.5Gi", Some(3 << 29)),
            ("64M", Some(64_000_000)),
            ("1e9", Some(1_000_000_000)),
            ("5E", Some(5_000_000_000_000_000_000)),
            ("1500m", Some(2)),
            ("0", Some(0)),
            ("-1", None),
            ("", None),
            ("Mi", None),
            ("NaN", None),
            ("12 Mi", None),
        ] {
            assert_eq!(bytes(text), expected.map(Bytes), "{text}");
        }
    }
}

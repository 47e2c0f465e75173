//! `/configz`: the configuration that the kubelet runs with (pkg/kubelet/server/server.go; the names are
//! those of staging/src/k8s.io/kubelet/config/v1beta1/types.go).

use crate::{
    signal::{EvictionLayer, KubeletConfiguration, LayerKind, SourceState},
    sources::feed::Failure,
};
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) const PATH: &str = "/configz";

#[derive(Deserialize)]
struct Answer {
    kubeletconfig: Configuration,
}

/// A map that is empty is left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    eviction_hard: BTreeMap<String, String>,
    #[serde(default)]
    eviction_soft: BTreeMap<String, String>,
    #[serde(default)]
    eviction_soft_grace_period: BTreeMap<String, String>,
    #[serde(default)]
    logging: Logging,
}

#[derive(Default, Deserialize)]
struct Logging {
    verbosity: Option<u8>,
}

/// Reads an answer.
pub(super) fn read(text: &str, address: &str) -> Result<KubeletConfiguration, Failure> {
    let Answer { kubeletconfig } = serde_json::from_str(text).map_err(|error| Failure {
        state: SourceState::Failing,
        why: format!("{address}{PATH}: the answer is no configuration of a kubelet: {error}"),
        remedy: "--kubelet-api has to name the kubelet of this node".into(),
    })?;
    let eviction = EvictionLayer {
        kind: LayerKind::Effective,
        from: format!("{address}{PATH}"),
        hard: Some(kubeletconfig.eviction_hard),
        soft: Some(kubeletconfig.eviction_soft),
        soft_grace: Some(kubeletconfig.eviction_soft_grace_period),
        merge_defaults: None,
    };
    Ok(KubeletConfiguration { eviction, verbosity: kubeletconfig.logging.verbosity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_empty_and_no_default() {
        let text = r#"{"kubeletconfig":{"enableServer":true,"evictionHard":{"memory.available":"50Mi"},"evictionPressureTransitionPeriod":"5m0s","logging":{"format":"text","verbosity":4}}}"#;
        let read = read(text, "https://n:10250").expect("read");
        assert_eq!(read.verbosity, Some(4));
        assert_eq!(read.eviction.kind, LayerKind::Effective);
        assert_eq!(read.eviction.hard, Some(BTreeMap::from([("memory.available".into(), "50Mi".into())])));
        assert_eq!(read.eviction.soft, Some(BTreeMap::new()));
    }

    #[test]
    fn what_is_no_configuration_is_an_error_with_the_address() {
        for text in ["", "{}", "<html>", r#"{"kubeletconfig":{"evictionHard":3}}"#] {
            let failure = read(text, "https://n:10250").expect_err(text);
            assert!(failure.why.starts_with("https://n:10250/configz: "), "{}", failure.why);
        }
    }
}

//! What the pod of a Repository's Job says when it has done its work, in its termination message.

use serde::{Deserialize, Serialize};

/// Bytes of a finding that are told.
const FINDING_BYTES_MAX: usize = 300;
/// Findings that are told; a termination message has no room for more.
const FINDINGS_MAX: usize = 5;

/// What one pod did and found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct UpkeepReport {
    /// How large the repository is, where the pod has measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<RepositorySize>,
    /// What was done, in words.
    pub done: String,
    /// Damages found.
    pub damages: i64,
    /// The first of them, and of what else should be looked at.
    pub findings: Vec<String>,
}

/// How large a repository is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RepositorySize {
    /// Bytes of its packs, for people.
    pub size: String,
    /// Bytes of streams for each byte of packs, for people; empty where nothing is stored.
    pub savings: String,
    /// Bytes of its packs.
    pub pack_bytes: i64,
    /// Bytes of the streams of all snapshots.
    pub stream_bytes: i64,
    /// Snapshots that are not forgotten.
    pub snapshots: i64,
    /// When the newest was committed, in milliseconds since 1970; `None` where there is none.
    pub newest_ms: Option<i64>,
    /// When this was measured, in milliseconds since 1970 by the pod's clock.
    pub measured_ms: i64,
}

impl UpkeepReport {
    /// The report as it is written: one line, short enough for a termination message.
    pub fn to_json(&self) -> String {
        let mut report = self.clone();
        report.findings.truncate(FINDINGS_MAX);
        for finding in &mut report.findings {
            let end =
                (0..=finding.len().min(FINDING_BYTES_MAX)).rev().find(|at| finding.is_char_boundary(*at));
            finding.truncate(end.unwrap_or(0));
        }
        serde_json::to_string(&report).expect("texts and numbers are always JSON")
    }

    /// Reads what a pod left; `None` where that is none.
    pub fn parse(message: &str) -> Option<UpkeepReport> {
        serde_json::from_str(message.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    #[test]
    fn a_report_fits_a_termination_message_whatever_was_found() {
        let findings = vec!["ä".repeat(10_000); 1000];
        let report = UpkeepReport { damages: 1000, findings, ..UpkeepReport::default() };
        let written = report.to_json();
        assert!(written.len() < 4096, "{}", written.len());
        let read = UpkeepReport::parse(&written).unwrap();
        assert_eq!((read.damages, read.findings.len()), (1000, FINDINGS_MAX));
        assert_eq!(UpkeepReport::parse("cistern: cannot read"), None);
    }
}
